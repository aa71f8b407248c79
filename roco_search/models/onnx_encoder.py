"""The encoder that runs compiled towers in onnxruntime, without torch and transformers.

The graphs of roco-mini are stored beside its weights and refer to ``model.safetensors`` for every one of them
(``scripts/roco_mini/compile.py`` writes them), so they cannot belong to other weights. Those of other models are in the
cache, by fingerprint (`roco_search.models.compiling.compiler`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roco_search.models.checkpoint import Checkpoint
from roco_search.models.compiling.cache import private_folder
from roco_search.models.compiling.session import options, session
from roco_search.models.compiling.towers import Compiled, Form, Texts, Tower, beside, folder_of
from roco_search.models.encoder import CheckpointEncoder, Device, Encoder
from roco_search.models.tokenizer import WORDS, WordPieces
from roco_search.system.files import write_file

if TYPE_CHECKING:
    from roco_search.imaging.preprocess import Preprocessing
    from roco_search.models.compiling.autotune import ImagePlan
    from roco_search.models.tokenizer import TextTokenizer
    from roco_search.models.torch_encoder import TorchEncoder

IMAGES_AT_ONCE = 16  # activations of more do not fit the caches of a small processor
TEXTS_AT_ONCE = 64

logger = logging.getLogger("roco")


class OnnxEncoder(CheckpointEncoder):
    """An `Encoder` whose towers are loaded one by one, when each is first needed.

    In fp32 the results equal `TorchEncoder`'s to rounding. With `fast`, texts are embedded with weights in 8 bits
    (cosine to fp32 at least 0.999, `compiler.FAITHFUL`) and images in the form that `ImagePlan` found fastest on this
    machine (at least 0.995). Torch takes over where onnxruntime cannot run a graph, and for images on a graphics
    processor.
    """

    def __init__(self, checkpoint: Checkpoint, device: Device = "auto", *, fast: bool = False) -> None:
        super().__init__(checkpoint)
        self._device = device
        self._fast = fast

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as float32 ``(n, dim)`` of unit norm."""
        if self._text is None:
            return self._torch.encode_texts(texts)
        run, prepared, _ = self._text
        out = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            ids, mask = self._tokens(texts[start : start + TEXTS_AT_ONCE])
            given = {"input_ids": ids, "attention_mask": mask} if prepared.masked else {"input_ids": ids}
            out[start : start + len(ids)] = run.run(None, given)[0]
        return out

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed uint8 ``(height, width, 3)`` images as float32 ``(n, dim)`` of unit norm."""
        if self._image is None:
            return self._torch.encode_images(images)
        out = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            pixels = self._preprocessing(images[start : start + IMAGES_AT_ONCE])
            out[start : start + len(pixels)] = self._plan(pixels) if self._plan else self.exact(pixels)
        return out

    def expect_images(self, count: int) -> None:
        """Announce how many images are about to be embedded; see `ImagePlan.expect`."""
        if self._plan is not None:
            self._plan.expect(count)

    def exact(self, pixels: np.ndarray) -> np.ndarray:
        """Embed prepared images, float32 ``(n, 3, height, width)``, in fp32."""
        assert self._image is not None
        return np.asarray(self._image.run(None, {"pixel_values": pixels})[0])

    @property
    def text_form(self) -> str | None:
        """The arithmetic of the text tower, "int8" or "fp32"; None where torch has taken over."""
        if self._text is None:
            return None
        entry = self._text[2]
        return entry.form if entry else "fp32"

    @cached_property
    def _plan(self) -> ImagePlan | None:
        if not self._fast:
            return None
        from roco_search.models.compiling.autotune import ImagePlan

        return ImagePlan(self.checkpoint, self.exact)

    @cached_property
    def _text(self) -> tuple[Any, Texts, Compiled | None] | None:
        """The text tower, how its texts are prepared, and where it comes from if that is the cache."""
        forms: tuple[Form, ...] = ("int8", "fp32") if self._fast else ("fp32",)
        # A text alone is too little work for two threads; making them takes longer than they save.
        threads = 1 if self._fast else None
        found = self._tower("text", forms, threads)
        if found is None:
            return None
        opened, entry = found
        return opened, entry.texts if entry and entry.texts else Texts(self._own_length, 0, False, True), entry

    @cached_property
    def _image(self) -> Any | None:
        if self._device == "auto" and accelerator() != "cpu":
            return None
        found = self._tower("image", ("fp32",), None)
        return None if found is None else found[0]

    def _tower(self, tower: Tower, forms: Sequence[Form], threads: int | None) -> tuple[Any, Compiled | None] | None:
        """Open the first of the forms that can be run, and return where it comes from if that is the cache."""
        failed: list[str] = []
        for form in forms:
            graph = beside(self.checkpoint, tower) if form == "fp32" else None
            entry = None if graph else Compiled.find(self.fingerprint, tower, form)
            try:
                if graph:
                    opened = session(graph, options(threads=threads))
                elif entry:
                    opened = entry.open(self.checkpoint.tensors, threads=threads)
                else:
                    continue
            except Exception as error:  # onnxruntime's own classes share no public base
                failed.append(type(error).__name__)
                continue
            if failed:
                self._tell(tower, failed[-1], "fp32")
            return opened, entry
        if failed:
            self._tell(tower, failed[-1], "torch")
        return None

    def _tell(self, tower: Tower, error: str, instead: str) -> None:
        logger.warning(
            "onnxruntime cannot run the %s tower of %s (%s); %s is used, which starts more slowly.",
            tower,
            self.name,
            error,
            instead,
        )

    @cached_property
    def _torch(self) -> TorchEncoder:
        from roco_search.models.torch_encoder import TorchEncoder

        return TorchEncoder(self.checkpoint, self._device)

    @cached_property
    def _preprocessing(self) -> Preprocessing:
        from roco_search.imaging.preprocess import Preprocessing

        return Preprocessing.from_directory(self.checkpoint.directory)

    @cached_property
    def _own_length(self) -> int:
        from roco_search.models.checkpoint import read_json

        return int(read_json(self.checkpoint.directory / "tokenizer_config.json")["model_max_length"])

    def _tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and mask, int64 ``(len(texts), tokens)``: of one plain text without loading the tokenizer."""
        assert self._text is not None
        _, prepared, entry = self._text
        if len(texts) == 1 and entry is not None and WORDS in entry.sizes and not prepared.pad_to_max:
            ids = WordPieces(entry.folder / WORDS).encode(texts[0], prepared.max_length)
            if ids is not None:
                return np.array([ids], np.int64), np.ones((1, len(ids)), np.int64)
        return self._tokenizer(texts)

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        from roco_search.models.tokenizer import TextTokenizer

        assert self._text is not None
        _, texts, _ = self._text
        kept = folder_of(self.fingerprint) / "tokenizer.json"
        own = self.checkpoint.directory / "tokenizer.json"
        return TextTokenizer.from_file(
            own if beside(self.checkpoint, "text") else kept,
            max_length=texts.max_length,
            pad_id=texts.pad_id,
            pad_to_max=texts.pad_to_max,
        )


def encode_texts_once(encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Embed fixed texts, such as the prompts of the vocabulary, once per model: float32 ``(n, dim)`` of unit norm.

    Only a compiled text tower is remembered, by the model's fingerprint, the tower's arithmetic and the texts: the
    weights of a torch model may change while it is in memory. Without the cache 60 short texts take roco-mini 0.2 s,
    most of it for loading a tokenizer.
    """
    form = encoder.text_form if isinstance(encoder, OnnxEncoder) else None
    if form is None:
        return np.asarray(encoder.encode_texts(texts), np.float32)
    name = sha256("\0".join(texts).encode()).hexdigest()[:16]
    path = folder_of(encoder.fingerprint) / f"texts-{form}-{name}.npy"
    with suppress(OSError, ValueError, EOFError):
        found = np.load(path, allow_pickle=False)
        if found.dtype == np.float32 and found.shape == (len(texts), encoder.dim):
            return np.asarray(found)
    vectors = np.asarray(encoder.encode_texts(texts), np.float32)
    content = BytesIO()
    np.save(content, vectors, allow_pickle=False)
    with suppress(OSError):  # A full or read-only disk only costs the time of embedding again.
        private_folder(path.parent)
        write_file(path, content.getvalue())
    return vectors


def accelerator() -> str:
    """Return ``cuda``, ``mps`` or ``cpu``: what torch would take, without importing it where there is none."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform != "linux"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
