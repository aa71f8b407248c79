"""A transformers directory on disk, read without torch: what it is, whether it is whole, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from roco_search.errors import ModelNotFound, RocoError, UnsupportedModel
from roco_search.models.cache import remembered
from roco_search.models.families import FAMILIES
from roco_search.system.files import sha256

VOCABULARY_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
TOKENIZER_FILES = (*VOCABULARY_FILES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
ELEMENT_BYTES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""By safetensors' name of a type."""

_REMEDY = "copy the folder again from where the model comes from."
_SIZES = ("_layers", "_heads", "_size", "_positions", "_dim", "_channels")
_LARGEST = 2**24


@contextmanager
def refuse_damage(name: str, part: str) -> Iterator[None]:
    """Turn whatever transformers and its like raise at a damaged part of a model into `UnsupportedModel`.

    They raise every class there is, so every one is caught; but not what is no fault of the model's files, such as a
    graphics processor that has no memory left.
    """
    try:
        yield
    except (RocoError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError") or "CUDA" in str(error):
            raise
        reason = " ".join(str(error).split())
        shown = f"{reason[:150].rstrip('.')}{'…' if len(reason) > 150 else ''}" or type(error).__name__
        raise UnsupportedModel(f"{name} cannot be used: {part} is damaged ({shown}); {_REMEDY}") from error


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in transformers' layout. ``name`` is what a person calls it.

    Whatever can be checked is checked, not trusted: weights are safetensors only, their sizes must add up, and code
    that a checkpoint brings along is never run.
    """

    name: str
    directory: Path

    @classmethod
    def open(cls, name: str, directory: Path) -> Checkpoint:
        """Look at a directory. Raises `ModelNotFound` or `UnsupportedModel` with what to do."""
        if not directory.is_dir():
            raise ModelNotFound(f"{directory} is not a folder; give a model's folder or a catalogue name.")
        checkpoint = cls(name, directory)
        if checkpoint.family not in FAMILIES:
            raise UnsupportedModel(
                f"{name} is a {checkpoint.family or 'nameless'!r} model, which cannot be loaded; the families that "
                f"can: {', '.join(FAMILIES)}."
            )
        if checkpoint._projection not in checkpoint.tensors:
            raise UnsupportedModel(f"{name} has no {checkpoint._projection} among its weights; {_REMEDY}")
        checkpoint._check_numbers()
        return checkpoint

    def _check_numbers(self) -> None:
        """Refuse numbers that no model has; a library would build a million layers before it saw that they are none."""
        layers = len(self.tensors)
        for part in (self.config, self.section("vision_config"), self.section("text_config")):
            for key, value in part.items():
                most = layers if key.endswith("_layers") else _LARGEST
                if key.endswith(_SIZES) and isinstance(value, int) and not 0 <= value <= most:
                    raise UnsupportedModel(f"The config.json of {self.name} has {key} {value}; {_REMEDY}")
        with refuse_damage(self.name, "its projection or its temperature"):
            if not (self.dim > 0 and self.image_size > 0 and self.logit_scale > 0):
                raise UnsupportedModel(f"{self.name} has embeddings or pictures of no size; {_REMEDY}")

    def section(self, name: str) -> Mapping[str, Any]:
        """Return ``vision_config`` or ``text_config``, with what older files have in a second dictionary beside it."""
        parts = [self.config.get(key) or {} for key in (name, f"{name}_dict")]
        if not all(isinstance(part, dict) for part in parts):
            raise UnsupportedModel(f"The {name} in the config.json of {self.name} is damaged; {_REMEDY}")
        return {**parts[0], **parts[1]}

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """``config.json``."""
        file = self.directory / "config.json"
        if not file.is_file():
            if self._has("open_clip_config.json"):
                raise UnsupportedModel(
                    f"{self.directory} is a checkpoint of open_clip, which has to be converted once: run "
                    f"'roco model import {self.directory}'."
                )
            raise UnsupportedModel(
                f"{self.directory} has no config.json, so it is not a model in transformers' layout. Give the folder "
                "that holds config.json and model.safetensors."
            )
        config = read_json(file)
        if "auto_map" in config:
            raise UnsupportedModel(f"{self.name} brings code of its own, which is never run; use another model.")
        return config

    @property
    def family(self) -> str:
        """Transformers' ``model_type``."""
        return str(self.config.get("model_type", ""))

    @cached_property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.tensors[self._projection].shape[0])

    @property
    def _projection(self) -> str:
        """The tensor whose first dimension is the width of the shared space."""
        return f"{FAMILIES[self.family].text_projection}.weight"

    @cached_property
    def image_size(self) -> int:
        """Side in pixels that the image tower was made for."""
        return int(self.section("vision_config").get("image_size", 224))

    @cached_property
    def ct_windows(self) -> tuple[tuple[float, float], ...] | None:
        """Width and centre in HU of the windows that CT is taken in, as red, green and blue; None for the file's own.

        They are ``ct_windows`` in ``preprocessor_config.json``, and so part of the fingerprint.
        """
        file = self.directory / PREPROCESSOR_FILES[0]
        stated = read_json(file).get("ct_windows") if file.is_file() else None
        if stated is None:
            return None
        try:
            windows = tuple((float(width), float(center)) for width, center in stated)
        except (TypeError, ValueError):
            windows = ()
        if len(windows) != 3 or not all(math.isfinite(c) and math.isfinite(w) and w > 0 for w, c in windows):
            raise UnsupportedModel(f"{file} states ct_windows that are not three widths and centres; {_REMEDY}")
        return windows

    @cached_property
    def logit_scale(self) -> float:
        """Inverse temperature; stored as its logarithm."""
        return math.exp(self._scalar("logit_scale"))

    @cached_property
    def logit_bias(self) -> float | None:
        """SigLIP's bias, None for the others."""
        return self._scalar("logit_bias") if "logit_bias" in self.tensors else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weights, the architecture, the preprocessing and the tokenizer, 64 hex digits.

        The configuration counts by its values, so that a file which only names another folder or version of
        transformers does not make a new model. What was hashed once is remembered as long as no file changes.
        """
        small = [self.directory / file for file in ("config.json", *PREPROCESSOR_FILES, *TOKENIZER_FILES)]
        return remembered(self.directory, [*small, *self.weight_files], self._hash)

    def _hash(self) -> str:
        digest = hashlib.sha256(b"roco model 1\n")
        digest.update(json.dumps(_architecture(self.config), sort_keys=True).encode())
        for file in (*PREPROCESSOR_FILES, *TOKENIZER_FILES):
            if self._has(file):
                digest.update(file.encode() + hashlib.sha256((self.directory / file).read_bytes()).digest())
        for path in self.weight_files:
            digest.update(bytes.fromhex(sha256(path)))
        return digest.hexdigest()

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files, in the order of their names."""
        index = self.directory / "model.safetensors.index.json"
        names = ["model.safetensors"]
        if index.is_file():
            with refuse_damage(self.name, index.name):
                names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
            if not names or any(Path(name).name != name for name in names):
                raise UnsupportedModel(f"{index} is damaged; {_REMEDY}")
        files = tuple(self.directory / str(name) for name in names)
        if missing := [file.name for file in files if not file.is_file()]:
            pickled = self._has("pytorch_model.bin")
            raise UnsupportedModel(
                f"{self.directory} has no {missing[0]}"
                + (
                    ", only pytorch_model.bin, a pickle that can run code when it is opened; "
                    f"'roco model import {self.directory}' converts it safely."
                    if pickled
                    else f"; {_REMEDY}"
                )
            )
        return files

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """The position of each weight, by its name."""
        tensors: dict[str, Tensor] = {}
        for file in self.weight_files:
            tensors.update(read_header(file))
        return tensors

    def _scalar(self, name: str) -> float:
        if name not in self.tensors:
            raise UnsupportedModel(f"{self.name} has no {name} among its weights; {_REMEDY}")
        return self.tensors[name].scalar()

    def _has(self, file: str) -> bool:
        return (self.directory / file).is_file()


@dataclass(frozen=True, slots=True)
class Tensor:
    """The position of a tensor in a safetensors file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def scalar(self) -> float:
        """Read a tensor of one element."""
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            raw = stream.read(self.stop - self.start)
        if self.dtype == "BF16":  # the upper half of a float32
            return float(struct.unpack("<f", b"\0\0" + raw)[0])
        kinds = {"F16": "<e", "F32": "<f", "F64": "<d"}
        if self.dtype not in kinds or math.prod(self.shape) != 1:
            raise UnsupportedModel(f"{self.file} holds a {self.dtype} {self.shape} where one number belongs; {_REMEDY}")
        return float(struct.unpack(kinds[self.dtype], raw)[0])


def read_header(file: Path) -> dict[str, Tensor]:
    """Read the header of a safetensors file, and check that the file is as long as it says.

    Format: 8 bytes little-endian length, a JSON header with offsets, the data (safetensors' own description).
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= size - 8:
            raise UnsupportedModel(f"{file} is not a whole safetensors file; {_REMEDY}")
        try:
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            tensors = {name: _tensor(file, entry, 8 + length) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise UnsupportedModel(f"{file} has a damaged header; {_REMEDY}") from None
    end = 8 + length
    for start, stop in sorted((tensor.start, tensor.stop) for tensor in tensors.values()):
        end = stop if start == end else -1  # tensors follow each other without gaps, and never overlap
    if size != end:
        raise UnsupportedModel(f"{file} is {size:,} bytes long, which is not what its header says; {_REMEDY}")
    return tensors


def _tensor(file: Path, entry: Mapping[str, Any], begins: int) -> Tensor:
    """Read an entry of a header. Raises `ValueError` where its bytes are not as many as its type and shape say."""
    start, stop = entry["data_offsets"]
    kind, shape = str(entry["dtype"]), tuple(entry["shape"])
    if not all(isinstance(number, int) and number >= 0 for number in (start, stop - start, *shape)):
        raise ValueError("not counts")
    if kind in ELEMENT_BYTES and stop - start != ELEMENT_BYTES[kind] * math.prod(shape):
        raise ValueError("not the bytes of its shape")
    return Tensor(file, kind, shape, begins + start, begins + stop)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `UnsupportedModel` where the file is not one."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UnsupportedModel(f"{file} is damaged; {_REMEDY}")
    return value


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what names a place, a version or a storage type."""
    incidental = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"}
    return {
        key: _architecture(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in incidental
    }
