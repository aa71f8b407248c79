"""What becomes of a tower: transformers' configuration, the place of each weight, and the refusal of the unknown.

A tower is refused by name where anything in its configuration asks for an operation that is not reproduced here: it
would load, and embed wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from roco_search.errors import UnsupportedModel

Config = Mapping[str, Any]
LAYERS, VOCABULARY = 128, 2**21  # at most

# Of training only, or about outputs that retrieval does not use.
_HARMLESS = frozenset({
    "patch_dropout", "output_tokens", "timm_model_pretrained", "timm_drop", "timm_drop_path", "hf_model_pretrained",
    "attn_pooler_queries", "attn_pooler_heads", "n_queries", "pad_id", "eos_id",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor to write: `target` of this `shape` is `source`, or these `rows` of it, or its transpose.

    Without a source it is the identity matrix.
    """

    target: str
    source: str | None
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class TowerPlan:
    """A tower in transformers' layout: its configuration, its pooling, the options of its projection, its weights."""

    config: dict[str, Any]
    pooling: str
    projection: dict[str, Any]
    parts: tuple[Part, ...]


Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor of the checkpoint, by the name that `CustomTextCLIP` gives it."""


def thirds(targets: Iterable[str], weight: str, bias: str, width: int) -> Iterator[Part]:
    """Yield query, key and value, which open_clip and timm keep above one another in one matrix."""
    for third, target in enumerate(targets):
        rows = (third * width, (third + 1) * width)
        yield Part(f"{target}.weight", weight, (width, width), rows)
        yield Part(f"{target}.bias", bias, (width,), rows)


def weighted(target: str, source: str, shape: tuple[int, ...], bias: bool = True) -> Iterator[Part]:
    """Yield a weight of this shape, and a bias as long as its first side."""
    yield Part(f"{target}.weight", f"{source}.weight", shape)
    if bias:
        yield Part(f"{target}.bias", f"{source}.bias", shape[:1])


def linear(target: str, source: str, inputs: int, outputs: int) -> Iterator[Part]:
    """Return the parts of a linear layer."""
    return weighted(target, source, (outputs, inputs))


def norm(target: str, source: str, width: int) -> Iterator[Part]:
    """Return the parts of a layer norm."""
    return weighted(target, source, (width,))


def only(
    cfg: Config,
    what: str,
    known: tuple[str, ...],
    defaults: Config | None = None,
    ignored: tuple[str, ...] = (),
) -> None:
    """Refuse a configuration that sets something else: each unknown switch changes what is computed."""
    for key, value in cfg.items():
        if key in known or key in ignored or key in _HARMLESS:
            continue
        if value and value != (defaults or {}).get(key):
            raise unknown(what, f"{key} {value!r}")


def number(cfg: Config, key: str, default: int, most: int = 16384) -> int:
    """Return a count of a configuration. Raises `UnsupportedModel` where it is none, or none that a model can have."""
    value = cfg.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise unknown("a tower", f"{key} {value!r}")
    return value


def unknown(what: str, name: str) -> UnsupportedModel:
    """Return the refusal of a tower, with what is unknown of it."""
    return UnsupportedModel(f"It has {shown(what)} with {shown(name)}, which roco cannot run; use another model.")


def shown(text: str) -> str:
    """Return a text of a file as a message may show it: the beginning, in ASCII."""
    return text[:120].encode("unicode_escape").decode("ascii")
