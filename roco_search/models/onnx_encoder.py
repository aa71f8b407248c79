"""The encoder that runs compiled towers in onnxruntime, without torch and transformers.

The graphs of roco-mini are stored beside its weights and refer to ``model.safetensors`` for every one of them
(``scripts/roco_mini/compile.py`` writes them), so they cannot belong to other weights. Those of other models are in the
cache, by fingerprint (`roco_search.models.compiling.compiler`).
"""

from __future__ import annotations

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

from roco_search.errors import UnsupportedModel
from roco_search.models.cache import private_folder
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.compiling.towers import (
    Compiled,
    Form,
    Texts,
    Tower,
    beside,
    folder_of,
    has_image_tower,
    options,
    session,
)
from roco_search.models.encoder import (
    CheckpointEncoder,
    Device,
    Encoder,
    Engine,
    Precision,
    checked_images,
    checked_texts,
)
from roco_search.models.tokenizer import WORDS, WordPieces
from roco_search.system.files import write_file
from roco_search.system.process import in_background
from roco_search.system.seals import checked, read_plain, with_checksum

if TYPE_CHECKING:
    from concurrent.futures import Future

    from roco_search.imaging.preprocess import Preprocessing
    from roco_search.models.compiling.autotune import Autotune
    from roco_search.models.compiling.engines import ImageTower
    from roco_search.models.tokenizer import TextTokenizer
    from roco_search.models.torch_encoder import TorchEncoder

MANY = 48  # Images from which another engine is worth its loading: OpenVINO takes a third of a second.
IMAGES_AT_ONCE = 16  # activations of more do not fit the caches of a small processor
TEXTS_AT_ONCE = 64


class OnnxEncoder(CheckpointEncoder):
    """An `Encoder` whose towers are loaded one by one, when each is first needed.

    In fp32 the results equal `TorchEncoder`'s to rounding. Torch takes over where onnxruntime cannot run a graph, and
    for images on a graphics processor.

    Parameters
    ----------
    checkpoint
        A model with compiled towers.
    device
        Where images are embedded: "cpu", or "auto" for a graphics processor if there is one.
    fast
        Whether texts are embedded with weights in 8 bits (cosine to fp32 at least 0.999, `compiler.FAITHFUL`).
    images
        The arithmetic of the image tower: see `load_encoder`.
    engine
        What runs the image tower on a processor. All of them equal fp32 within 1e-5 (`autotune.EQUAL`), so it makes no
        difference to an embedding which one does; "auto" is onnxruntime for a few images, and for at least `MANY` that
        were announced the engine that `Autotune` found fastest.
    once
        Whether it serves a single query: see `texts_are_done`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Device = "auto",
        *,
        fast: bool = False,
        images: str = "fp32",
        engine: Engine = "auto",
        once: bool = False,
    ) -> None:
        super().__init__(checkpoint)
        self._device = device
        self._fast = fast
        self._images = images
        self._engine = engine
        self._once = once
        self._opening: Future[ImageTower | None] | None = None

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as float32 ``(n, dim)`` of unit norm. Raises `InputError` for what is no list of texts."""
        texts = checked_texts(texts)
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
        """Embed uint8 ``(height, width, 3)`` images as float32 ``(n, dim)`` of unit norm; see `checked_images`."""
        images = checked_images(images)
        if self._on_accelerator:
            return self._torch.encode_images(images)
        if self._opening is None and (self._images != "fp32" or self._engine != "auto"):
            self.expect_images(len(images))
        tower = self._opening.result() if self._opening is not None else None
        if tower is not None and len(images) > 0:
            return self._usable(np.asarray(tower(images, self._preprocessing)), images)
        if self._image is None:
            return self._torch.encode_images(images)
        return self._by_onnxruntime(images)

    def _usable(self, embedded: np.ndarray, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed in fp32 by onnxruntime what an engine made numbers of that are none: no image is lost to an engine."""
        broken = np.flatnonzero(~np.isfinite(embedded).all(axis=1))
        if broken.size and self._image is not None:
            import logging  # here and below: a query never needs it

            logging.getLogger("roco").debug("%d embeddings were not finite and are made again in fp32", broken.size)
            embedded[broken] = self._by_onnxruntime([images[index] for index in broken.tolist()])
        return embedded

    def _by_onnxruntime(self, images: Sequence[np.ndarray]) -> np.ndarray:
        out = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            pixels = self._preprocessing(images[start : start + IMAGES_AT_ONCE])
            out[start : start + len(pixels)] = self.exact(pixels)
        return out

    def expect_images(self, count: int) -> None:
        """Announce how many images are about to come: the engine for them is then loaded while the first are read."""
        wanted = count >= MANY or self._images != "fp32" or self._engine != "auto"
        if wanted and self._opening is None and not self._on_accelerator:
            self._opening = in_background(self._open_tower, "roco-load")

    def texts_are_done(self) -> None:
        """Announce that no more texts come: the text tower need not be in memory beside the vectors."""
        if self._once:
            self.__dict__.pop("_text", None)

    def exact(self, pixels: np.ndarray) -> np.ndarray:
        """Embed prepared images, float32 ``(n, 3, height, width)``, in fp32 by onnxruntime."""
        assert self._image is not None
        return np.asarray(self._image.run(None, {"pixel_values": pixels})[0])

    @cached_property
    def image_arithmetic(self) -> str:
        """How images are embedded: "fp32", or the name of a form of lower precision, such as "openvino-bf16"."""
        if self._images != "fast":
            return self._images
        if self._on_accelerator or self._image is None:
            return self._torch.image_arithmetic
        return self.autotune.fast_form()

    @cached_property
    def autotune(self) -> Autotune:
        """What measures and chooses the engine of the image tower."""
        from roco_search.models.compiling.autotune import Autotune

        return Autotune(self.checkpoint, self.exact)

    def _open_tower(self) -> ImageTower | None:
        """Load what embeds many images; None where that is onnxruntime on all cores, or torch."""
        from roco_search.models.compiling.engines import ImageTower, forms_of

        if not has_image_tower(self.checkpoint):
            return None
        form = self.image_arithmetic
        exact = form == "fp32"
        if exact:
            form = self.autotune.engine(self._engine)
        forms = forms_of(self.checkpoint, fast=not exact)
        try:
            return ImageTower(forms[form]())
        except Exception as error:  # of torch, onnxruntime or OpenVINO
            if not exact:
                raise UnsupportedModel(
                    f"The images of this library were embedded by {form}, which cannot be run here "
                    f"({type(error).__name__}); embed it again with `roco index --reembed --precision exact`."
                ) from None
            self._tell("image", type(error).__name__, "onnxruntime", by=form)
            return None

    @cached_property
    def _on_accelerator(self) -> bool:
        return self._device == "auto" and accelerator() != "cpu"

    @property
    def text_form(self) -> str | None:
        """The arithmetic of the text tower, "int8" or "fp32"; None where torch has taken over."""
        if self._text is None:
            return None
        entry = self._text[2]
        return entry.form if entry else "fp32"

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
        if self._on_accelerator:
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

    def _tell(self, tower: str, error: str, instead: str, by: str = "onnxruntime") -> None:
        import logging

        logging.getLogger("roco").warning(
            "%s cannot run the %s tower of %s (%s); %s is used, which works more slowly.",
            by,
            tower,
            self.name,
            error,
            instead,
        )

    @cached_property
    def _torch(self) -> TorchEncoder:
        from roco_search.models.torch_encoder import TorchEncoder

        images: Precision = "fp32" if self._fast and self._images == "fp32" else "auto"
        return TorchEncoder(self.checkpoint, self._device, "auto", images=images)

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
        if len(texts) == 1 and entry is not None and WORDS in entry.hashes and not prepared.pad_to_max:
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
        found = np.load(BytesIO(checked(read_plain(path))), allow_pickle=False)
        if found.dtype == np.float32 and found.shape == (len(texts), encoder.dim):
            return np.asarray(found)
    vectors = np.asarray(encoder.encode_texts(texts), np.float32)
    content = BytesIO()
    np.save(content, vectors, allow_pickle=False)
    with suppress(OSError):  # A full or read-only disk only costs the time of embedding again.
        private_folder(path.parent)
        write_file(path, with_checksum(content.getvalue()))
    return vectors


def accelerator() -> str:
    """Return ``cuda``, ``mps`` or ``cpu``: what torch would take, without importing it where there is none."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform != "linux"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
