"""The encoder that runs a checkpoint in torch and transformers: any family, device and precision.

Weights stay float32; autocast chooses the arithmetic of each operation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roco_search.errors import UnsupportedModel
from roco_search.imaging.preprocess import Preprocessing
from roco_search.models.checkpoint import VOCABULARY_FILES, Checkpoint, refuse_damage
from roco_search.models.encoder import CheckpointEncoder, Device, Precision, checked_images, checked_texts
from roco_search.models.families import FAMILIES, register, text_length
from roco_search.models.tokenizer import refuse_panics
from roco_search.system.process import cores

if TYPE_CHECKING:
    import torch

IMAGES_AT_ONCE = 32
TEXTS_AT_ONCE = 64

Arithmetic = Literal["fp32", "bf16", "fp16"]
_Landing = Callable[[], np.ndarray]


class TorchEncoder(CheckpointEncoder):
    """An `Encoder` over a `Checkpoint`.

    The results equal those of transformers' own processor and model on the same checkpoint in fp32.

    Images go to a graphics processor as the uint8 that the reference's resizing gives, a quarter of the bytes, in
    pinned memory; grey levels become float32 there, by the same table as on a processor, so that the arithmetic of both
    is the same. One part is in flight: while the device computes it, the next is resized on threads and sent, and
    before its embeddings are awaited. In fp32, TF32 is off.

    Estimate, not measured on a graphics processor: roco-mini needs 0.6 GFLOP an image and CLIP's ViT-B/32 9, which an
    H100 computes at well over 10,000 and 5,000 images a second in bf16. Reading a PNG of 512 to 1024 pixels takes a
    core 5 ms and resizing it 1.5 ms; the host is therefore the limit, at about 150 images a second for each of its
    cores.

    Parameters
    ----------
    checkpoint
        The model.
    device, precision
        See `load_encoder`.
    images
        The precision of the image tower where it is another one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Device = "auto",
        precision: Precision = "auto",
        *,
        images: Precision | None = None,
    ) -> None:
        super().__init__(checkpoint)
        self._device, self._precision = device, precision
        self._image_precision = precision if images is None else images

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed uint8 ``(height, width, 3)`` images as float32 ``(n, dim)`` of unit norm."""
        images = checked_images(images)
        with refuse_damage(self.name, "its image tower, or how it prepares images,"):
            return self._encode_images(images)

    def _encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        if self.preprocessing is None:
            return self._encode(
                images,
                IMAGES_AT_ONCE,
                self.prepare_images,
                lambda inputs: self.model.get_image_features(**inputs),
                self.image_precision,
            )
        out = np.empty((len(images), self.dim), np.float32)
        flying: tuple[slice, _Landing] | None = None
        fitted = self._resizers.map(self.preprocessing.fit, images)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            part = slice(start, min(start + IMAGES_AT_ONCE, len(images)))
            landing = self._launch(np.stack([next(fitted) for _ in range(part.start, part.stop)]))
            if flying is not None:
                out[flying[0]] = flying[1]()
            flying = part, landing
        if flying is not None:
            out[flying[0]] = flying[1]()
        return out

    def _launch(self, pixels: np.ndarray) -> _Landing:
        """Begin to embed resized images, uint8 ``(n, height, width, 3)``; calling what is returned waits for them."""
        import torch

        cuda = self.device.type == "cuda"
        given = torch.from_numpy(pixels)
        if cuda:
            given = given.pin_memory()
        with torch.inference_mode(), autocast(self.device, self.image_precision):
            levels = given.to(self.device, non_blocking=cuda).long()
            planes = [self._levels[channel][levels[..., channel]] for channel in range(3)]
            features = self.model.get_image_features(pixel_values=torch.stack(planes, dim=1)).pooler_output
            features = torch.nn.functional.normalize(features.float(), dim=-1)
        if not cuda:
            return lambda: features.cpu().numpy()
        host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        host.copy_(features, non_blocking=True)
        there = torch.cuda.Event()
        there.record()

        def land() -> np.ndarray:
            there.synchronize()
            return np.asarray(host.numpy())

        return land

    @cached_property
    def _levels(self) -> torch.Tensor:
        """What each grey level becomes, float32 ``(3, 256)``, on the device."""
        import torch

        assert self.preprocessing is not None
        return torch.from_numpy(self.preprocessing.levels()).to(self.device)

    @cached_property
    def _resizers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(cores(), "roco-resize")

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as float32 ``(n, dim)`` of unit norm."""
        texts = checked_texts(texts)
        with refuse_damage(self.name, "its text tower or its tokenizer"):
            return self._encode(
                texts,
                TEXTS_AT_ONCE,
                self.prepare_texts,
                lambda inputs: self.model.get_text_features(**inputs),
                self.precision,
            )

    def _encode(self, items: Sequence[Any], at_once: int, prepare: Any, run: Any, precision: Arithmetic) -> np.ndarray:
        import torch

        out = np.empty((len(items), self.dim), np.float32)
        for start in range(0, len(items), at_once):
            arrays = prepare(items[start : start + at_once])
            inputs = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
            with torch.inference_mode(), autocast(self.device, precision):
                # transformers 5 returns an output whose pooler_output is the projected vector.
                features = run(inputs).pooler_output
            features = torch.nn.functional.normalize(features.float(), dim=-1)
            out[start : start + at_once] = features.cpu().numpy()
        return out

    def encode_prepared(self, pixels: np.ndarray) -> np.ndarray:
        """Embed what `preprocessing` made, float32 ``(n, 3, height, width)``, as float32 ``(n, dim)`` of unit norm.

        In bf16 on a processor the channels come last: a convolution then takes a quarter less time.
        """
        import torch

        given = torch.from_numpy(pixels).to(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(self.device, self.image_precision):
            features = self.model.get_image_features(pixel_values=given).pooler_output
        return np.asarray(torch.nn.functional.normalize(features.float(), dim=-1))

    def prepare_images(self, images: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        """Turn uint8 ``(height, width, 3)`` images into the arguments of the image tower."""
        if self.preprocessing is not None:
            return {"pixel_values": self.preprocessing(images)}
        try:
            with np.errstate(divide="raise", over="raise", invalid="raise"):  # an image_std of 0 is damage, too
                prepared = self._image_processor(list(images), return_tensors="np", input_data_format="channels_last")
        except Exception as error:  # of transformers, at whatever the file holds
            raise UnsupportedModel(
                f"{self.name} does not say how its images are prepared in a way that transformers understands here; "
                "copy its preprocessor_config.json from where the model comes from."
            ) from error
        return {name: np.asarray(array) for name, array in prepared.items()}

    def prepare_texts(self, texts: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Turn texts into the arguments of the text tower, cut to its length."""
        ids, mask = self._tokenizer(texts)
        return {"input_ids": ids} if mask is None else {"input_ids": ids, "attention_mask": mask}

    def count_cut(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return how many texts are longer than the text tower reads, and the number of tokens that it reads."""
        with refuse_damage(self.name, "its tokenizer"):
            return self._tokenizer.count_cut(texts), self._tokenizer.max_length

    @cached_property
    def device(self) -> torch.device:
        """The device that ``auto`` came to."""
        import torch

        if self._device != "auto":
            return torch.device(self._device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    @cached_property
    def model(self) -> Any:
        """Transformers' model, loaded at first use: float32 weights, in evaluation mode, on the device."""
        import torch
        from transformers import AutoModel

        register(self.checkpoint.family)
        with quiet(), refuse_damage(self.name, "its configuration, or the shape of its weights,"):
            model, info = AutoModel.from_pretrained(
                self.checkpoint.directory,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        if info["missing_keys"] or info["mismatched_keys"]:
            raise UnsupportedModel(
                f"{self.name} lacks {len(info['missing_keys']) + len(info['mismatched_keys'])} of the weights that its "
                "config.json asks for; copy the folder again from where the model comes from."
            )
        return model.eval().to(self.device)

    @cached_property
    def precision(self) -> Arithmetic:
        """The arithmetic that ``auto`` came to, for texts."""
        return resolve(self._precision, self.device)

    @cached_property
    def image_precision(self) -> Arithmetic:
        """The arithmetic that ``auto`` came to, for images."""
        return resolve(self._image_precision, self.device)

    @property
    def image_arithmetic(self) -> str:
        """How images are embedded: "fp32", or the device and the precision, such as "cuda-bf16"."""
        precision = self.image_precision
        return precision if precision == "fp32" else f"{self.device.type}-{precision}"

    @cached_property
    def preprocessing(self) -> Preprocessing | None:
        """The image preprocessing without transformers; None where only transformers' own will do."""
        try:
            return Preprocessing.from_directory(self.checkpoint.directory)
        except UnsupportedModel:
            return None

    @cached_property
    def _image_processor(self) -> Any:
        from transformers import AutoImageProcessor

        with quiet():
            return AutoImageProcessor.from_pretrained(self.checkpoint.directory, local_files_only=True, backend="pil")

    @cached_property
    def _tokenizer(self) -> Any:
        if FAMILIES[self.checkpoint.family].embedded:
            from roco_search.models.tokenizer import TextTokenizer

            return TextTokenizer.from_directory(self.checkpoint.directory)
        return _TransformersTokenizer(self.checkpoint)


class _TransformersTokenizer:
    """The checkpoint's tokenizer as transformers builds it, with the padding that its text tower expects."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        from transformers import AutoTokenizer

        refusal = UnsupportedModel(
            f"{checkpoint.name} has no tokenizer that transformers can load here; copy its tokenizer files from "
            "where the model comes from."
        )
        # Without a vocabulary transformers returns an empty tokenizer, and every text would embed alike.
        if not any((checkpoint.directory / name).is_file() for name in VOCABULARY_FILES):
            raise refusal
        with refuse_panics(refusal), quiet():
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint.directory, local_files_only=True)
            self.tokenizer("a")
        with refuse_damage(checkpoint.name, "the length of its texts"):
            self.max_length = min(text_length(checkpoint.config), int(self.tokenizer.model_max_length))
        self.padding: str | bool = "max_length" if FAMILIES[checkpoint.family].pads_to_max else True

    def count_cut(self, texts: Sequence[str]) -> int:
        with quiet():
            return sum(len(ids) > self.max_length for ids in self.tokenizer(list(texts))["input_ids"]) if texts else 0

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        encoded = self.tokenizer(
            list(texts),
            padding=self.padding,
            truncation=True,
            max_length=self.max_length,
            return_tensors="np",
        )
        mask = encoded.get("attention_mask")
        return encoded["input_ids"].astype(np.int64), None if mask is None else mask.astype(np.int64)


def resolve(precision: Precision, device: torch.device) -> Arithmetic:
    """Return what ``auto`` means: bf16 on CUDA that has it, else fp16 on CUDA; fp32 elsewhere.

    On a processor it stays fp32 even where bf16 exists: of EfficientNet-Lite0 the forward pass was 1.7 times faster in
    bf16 on a processor with AVX-512 BF16, the forward and backward pass together 0.75 times.
    """
    import torch

    if precision != "auto" and precision != "fast":  # noqa: PLR1714 - mypy narrows only so
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(device: torch.device, precision: Arithmetic) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a model runs."""
    import torch

    if precision == "fp32":
        # cuDNN convolves in TF32 by default, whose 10 bits of mantissa differ from fp32 by 1e-3.
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and notes off the console while it loads."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
