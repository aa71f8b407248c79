"""A checkpoint as it was published becomes a folder in transformers' layout: weights, configuration, tokenizer, card.

The pickle is read once, in a child (`roco_search.models.pickles`), and not kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roco_search.errors import InputError, UnsupportedModel
from roco_search.models import pickles
from roco_search.models.catalogue import installed
from roco_search.models.checkpoint import TOKENIZER_FILES, VOCABULARY_FILES, Checkpoint, read_header, read_json
from roco_search.models.open_clip import layout
from roco_search.models.open_clip.weights import rewrite
from roco_search.system.files import check_space, sha256, sync, write_errors

PICKLED = "pytorch_model.bin"
"""transformers' name of a pickle of weights."""


@dataclass(frozen=True, slots=True)
class Published:
    """The files of a checkpoint as it was published.

    Attributes
    ----------
    name
        What a person calls it; errors name it so.
    weights
        A safetensors file, or a pickle of tensors.
    folder
        The folder of its configuration, tokenizer and card; None for a state dict alone.
    tokenizer
        The folder of another model whose tokenizer, and ``config.json`` of a Hugging Face text tower, it takes.
    origin
        Where the tokenizer comes from, for the card.
    """

    name: str
    weights: Path
    folder: Path | None = None
    tokenizer: Path | None = None
    origin: str | None = None

    @property
    def is_open_clip(self) -> bool:
        """Whether it has to be rewritten; otherwise it is in transformers' layout, but for a pickle."""
        return self.folder is None or not _is_transformers(self.folder)

    def own_tokenizer(self) -> Path | None:
        """Return the folder that its tokenizer is taken from, None where there is none."""
        folders = [folder for folder in (self.folder, self.tokenizer) if folder]
        return next((f for f in folders if any((f / file).is_file() for file in VOCABULARY_FILES)), None)


def convert(published: Published, target: Path) -> Checkpoint:
    """Write the model into the folder `target`, which must not exist, and return it.

    Raises
    ------
    UnsupportedModel
        If it is damaged, dangerous or of an unknown architecture; what has been written of it is for the caller to
        delete.
    InputError
        If it has no tokenizer.
    StorageFull
    """
    if published.is_open_clip and published.own_tokenizer() is None:
        raise _no_tokenizer(published)
    weights = published.weights
    size = weights.stat().st_size
    pickled = weights.suffix in pickles.SUFFIXES
    check_space(target.parent, size * (2 if pickled else 1))
    target.mkdir()
    made = target / installed.WEIGHTS
    with write_errors(target):
        tensors = made if pickled and not published.is_open_clip else target.with_name("tensors.safetensors")
        if pickled:
            pickles.to_safetensors(weights, tensors)
        if published.is_open_clip:
            with _subject(published.name):
                _rewrite(published, tensors if pickled else weights, target)
            if pickled:
                tensors.unlink()
        _copy_papers(published, target)
        if pickled or published.is_open_clip:
            _write_card(published, target / "README.md")
            sync(made)
    return Checkpoint.open(published.name, target)


def _rewrite(published: Published, weights: Path, target: Path) -> None:
    folder = published.folder
    config = read_json(folder / layout.CONFIG) if folder else None
    tower = _text_tower(published)
    found = layout.read(config, read_header(weights), tower)
    source = published.own_tokenizer()
    assert source is not None
    rewrite(found.weights, target / installed.WEIGHTS)
    _write(target / "config.json", found.config)
    _write(target / "preprocessor_config.json", found.preprocessor)
    for file in TOKENIZER_FILES:
        if (source / file).is_file():
            if not _is_within(source / file):
                raise UnsupportedModel(f"Its {file} links to a file outside of its folder; copy that file into it.")
            shutil.copyfile(source / file, target / file)
    told = target / "tokenizer_config.json"
    settings = read_json(told) if told.is_file() else {}
    settings.pop("auto_map", None)
    of_clip = found.config["text_config"]["model_type"] == "clip_text_model"
    settings.setdefault("tokenizer_class", "CLIPTokenizer" if of_clip else "BertTokenizer")
    _write(told, {**settings, "model_max_length": found.length})


def _no_tokenizer(published: Published) -> InputError:
    config = read_json(published.folder / layout.CONFIG) if published.folder else None
    name, _ = layout.text_source(config) if config else (layout.CLIP_TOKENIZER, False)
    return InputError(
        f"{published.name} comes without a tokenizer; name a model on this disk that has the one of {name}, or its "
        "folder, as `tokenizer`."
    )


def _text_tower(published: Published) -> dict[str, Any] | None:
    """Return the ``config.json`` of a Hugging Face text tower, from its own folder or that of a model that has it."""
    for folder in (published.tokenizer, published.folder):
        if folder and (folder / "config.json").is_file():
            config = read_json(folder / "config.json")
            inner = config.get("text_config")
            found = inner if isinstance(inner, dict) else config
            if "hidden_size" in found:
                return found
    return None


def _copy_papers(published: Published, target: Path) -> None:
    """Copy the card and the licence, and whatever else of a transformers folder belongs to a model."""
    for path in sorted(published.folder.iterdir()) if published.folder else ():
        of_model = not published.is_open_clip and installed.belongs_to_a_model(path.name)
        if (of_model or installed.is_paper(path.name)) and _is_within(path) and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)


def _is_within(path: Path) -> bool:
    """Whether a file is in its folder, or in the ``blobs`` that the folders of the hub's cache link to.

    A folder that somebody else made may link to any file of this machine, which `export` would then carry away.
    """
    folder, found = path.parent.resolve(), path.resolve()
    return path.is_file() and found.parent in (folder, folder.parent.parent / "blobs")


def _write_card(published: Published, card: Path) -> None:
    text = card.read_text("utf-8", "replace") if card.is_file() else f"# {published.name}\n"
    card.write_text(f"{text.rstrip()}\n\n{_note(published)}", "utf-8")


def _note(published: Published) -> str:
    source = f"`{published.weights.name}` (SHA-256 {sha256(published.weights)})"
    lines = [f"Converted by roco from {source} to transformers' layout; no weight was changed."]
    if published.tokenizer and published.own_tokenizer() == published.tokenizer:
        files = [f for f in TOKENIZER_FILES if (published.tokenizer / f).is_file()]
        size = sum((published.tokenizer / file).stat().st_size for file in files)
        origin = published.origin or published.tokenizer.name
        lines.append(f"Its tokenizer is that of {origin} ({', '.join(files)}; {size:,} bytes).")
    return "## Conversion\n\n" + "\n".join(lines) + "\n"


def _is_transformers(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not (folder / layout.CONFIG).is_file()


@contextmanager
def _subject(name: str) -> Iterator[None]:
    """Let a refusal of `layout`, which says "It" and "Its", begin with the model's name."""
    try:
        yield
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        raise UnsupportedModel(
            f"{name} cannot be loaded: its {layout.CONFIG} is damaged ({type(error).__name__}); copy the folder again "
            "from where the model comes from."
        ) from None
    except UnsupportedModel as error:
        text = str(error)
        if text.startswith(("It ", "Its ")):
            raise UnsupportedModel(f"{name} cannot be loaded: {text[0].lower()}{text[1:]}") from None
        raise


def check_open_clip(name: str, config: Path) -> None:
    """Refuse an ``open_clip_config.json`` of unknown towers before its weights come. Raises `UnsupportedModel`."""
    with _subject(name):
        layout.check_known(read_json(config))


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
