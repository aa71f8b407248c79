"""What every command expects of a model: images and texts into one space of unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from roco_search.errors import InputError, UnsupportedModel

if TYPE_CHECKING:
    import numpy as np

    from roco_search.imaging.frame import CtWindows
    from roco_search.models.checkpoint import Checkpoint


NO_EMBEDDING = "the model gives no usable embedding for it; look at the picture, or try another model"
"""Why an image whose embedding is not finite has none."""


Device = Literal["auto", "cpu", "cuda", "mps"]
Engine = Literal["auto", "onnxruntime", "openvino", "torch"]
Precision = Literal["auto", "fast", "fp32", "bf16", "fp16"]


class EncoderIdentity(Protocol):
    """What is recorded of the encoder that made embeddings, and compared before others are put beside them."""

    @property
    def name(self) -> str:
        """The name by which a person asks for it: a catalogue name, or a directory."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the image tower sees."""

    @property
    def logit_scale(self) -> float:
        """Multiplier of the cosine similarity in the model's own softmax or sigmoid (already exponentiated)."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights, architecture, preprocessing and tokenizer: equal means comparable embeddings."""


@runtime_checkable
class Encoder(EncoderIdentity, Protocol):
    """A dual encoder. Preprocessing and tokenising are its own business.

    Its attributes are cheap to read; weights are loaded at the first call that needs them. Four more are optional:
    ``expect_images(count)`` announces how many images are about to be embedded (see `announce_images`),
    ``image_arithmetic`` names how they are (see `image_arithmetic`), ``ct_windows`` how CT is to be rendered for it
    (see `ct_windows`), and ``fit_image(image)`` returns what its image tower is given (see `fit_image`).
    """

    @property
    def logit_bias(self) -> float | None:
        """What the model's own sigmoid adds to the scaled similarity; None for a softmax model."""

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embed uint8 ``(height, width, 3)`` images of any size as float32 ``(n, dim)`` of unit norm."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as float32 ``(n, dim)`` of unit norm; what exceeds the tower's length is cut off."""


def announce_images(encoder: Encoder, count: int) -> None:
    """Call the encoder's ``expect_images``, if it has one: it can then load its fastest form ahead of a long run."""
    expect = getattr(encoder, "expect_images", None)
    if expect is not None:
        expect(count)


def texts_are_done(encoder: Encoder) -> None:
    """Call the encoder's ``texts_are_done``, if it has one: it can then free its text tower."""
    done = getattr(encoder, "texts_are_done", None)
    if done is not None:
        done()


def image_arithmetic(encoder: EncoderIdentity) -> str:
    """Return how an encoder embeds images: "fp32", or the name of a form of lower precision."""
    return str(getattr(encoder, "image_arithmetic", "fp32"))


@dataclass(frozen=True, slots=True)
class RecordedEncoder:
    """The encoder that made vectors that are kept, apart from a library: an `EncoderIdentity`."""

    name: str
    dim: int
    image_size: int
    logit_scale: float
    fingerprint: str
    image_arithmetic: str

    @classmethod
    def of(cls, encoder: EncoderIdentity) -> RecordedEncoder:
        """Return what is recorded of an encoder."""
        return cls(
            encoder.name,
            encoder.dim,
            encoder.image_size,
            float(encoder.logit_scale),
            encoder.fingerprint,
            image_arithmetic(encoder),
        )


def ct_windows(encoder: Encoder) -> CtWindows | None:
    """Return the windows that an encoder takes CT in, for `roco_search.imaging.open_image`; None for the file's own."""
    windows: CtWindows | None = getattr(encoder, "ct_windows", None)
    return windows


def fit_image(encoder: Encoder, image: np.ndarray) -> np.ndarray | None:
    """Return what an encoder's image tower is given of an image: resized and cropped, and not normalised yet.

    Both are uint8 ``(height, width, 3)``. None where only transformers knows how an image is prepared for it.
    """
    fit = getattr(encoder, "fit_image", None)
    try:
        found: np.ndarray | None = None if fit is None else fit(image)
    except UnsupportedModel:
        return None
    return found


def checked_images(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return images as arrays that a tower takes, PIL images among them in RGB.

    Raises
    ------
    InputError
        If one is anything else than uint8 ``(height, width, 3)``, such as ``(3, height, width)`` or floating point: its
        embedding would be that of noise.
    """
    import numpy as np

    found = []
    for number, image in enumerate(images):
        if hasattr(image, "convert"):
            image = np.asarray(image.convert("RGB"))  # noqa: PLW2901
        if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3):
            seen = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        elif image.shape[2] != 3 or not image.size:
            seen = f"{image.dtype} {image.shape}"
        else:
            found.append(image)
            continue
        raise InputError(
            f"`images` holds {seen} at {number}; give a list of uint8 arrays (height, width, 3), as `open_image` "
            "yields them, or of PIL images."
        )
    return found


def checked_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return texts. Raises `InputError` for one that is no list, or holds anything else than texts."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise InputError("`texts` is a list of texts, such as ['chest X-ray'].")
    return texts


class CheckpointEncoder:
    """What every encoder over a `Checkpoint` says of itself."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    @property
    def name(self) -> str:
        """The name by which a person asked for it."""
        return self.checkpoint.name

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.checkpoint.dim

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the image tower sees."""
        return self.checkpoint.image_size

    @property
    def logit_scale(self) -> float:
        """Multiplier of the cosine similarity in the model's own softmax or sigmoid."""
        return self.checkpoint.logit_scale

    @property
    def logit_bias(self) -> float | None:
        """SigLIP's bias; None for a softmax model."""
        return self.checkpoint.logit_bias

    @property
    def ct_windows(self) -> CtWindows | None:
        """See `Checkpoint.ct_windows`."""
        from roco_search.imaging.frame import Window

        if (stated := self.checkpoint.ct_windows) is None:
            return None
        red, green, blue = (Window(center, width) for width, center in stated)
        return red, green, blue

    def fit_image(self, image: np.ndarray) -> np.ndarray:
        """See `fit_image`. Raises `UnsupportedModel` where transformers alone prepares images for it."""
        from roco_search.imaging.preprocess import Preprocessing

        return Preprocessing.from_directory(self.checkpoint.directory).fit(image)

    @property
    def fingerprint(self) -> str:
        """See `Checkpoint.fingerprint`."""
        return self.checkpoint.fingerprint
