"""An image that a person brings: read, reduced to what is needed, and its file deleted at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from roco_search.errors import ImageError, InputError
from roco_search.figures.page import printable
from roco_search.imaging import Tags, open_image
from roco_search.models import Encoder

LARGEST = 1024  # pixels of the longer side that are kept, to draw it and its heat map


@dataclass(frozen=True, slots=True, eq=False)
class Brought:
    """What is kept of an uploaded image while its tab is open.

    Attributes
    ----------
    vector
        Its embedding, float32 ``(dim,)``.
    content
        SHA-256 of its file.
    name
        Of its file.
    pixels
        uint8 ``(height, width, 3)``, reduced to `LARGEST`.
    tags
        What its header may say.
    frame, frames
        Which frame, from 0, of how many.
    """

    vector: npt.NDArray[np.float32]
    content: bytes
    name: str
    pixels: npt.NDArray[np.uint8]
    tags: Tags
    frame: int
    frames: int

    @property
    def title(self) -> str:
        """The name, and which frame of how many where there are several."""
        return self.name if self.frames == 1 else f"{self.name}, frame {self.frame + 1} of {self.frames}"


def take(path: str | Path, folder: Path, encoder: Encoder) -> Brought:
    """Read an uploaded file and delete it, whatever comes of it.

    Parameters
    ----------
    path
        The file; one that does not lie in `folder` was never uploaded, and is left alone.
    folder
        Where uploads lie.
    encoder
        The model.

    Raises
    ------
    InputError
        If it is no image that can be read.
    """
    file = Path(path)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError("That file was not uploaded; give it again.")
    try:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        frame = next(open_image(file))
    except ImageError as error:
        raise InputError(f"That file is no image to work with: {error}.") from None
    except OSError:
        raise InputError("That file did not arrive whole; give it again.") from None
    finally:
        file.unlink(missing_ok=True)
    vector = np.asarray(encoder.encode_images([frame.pixels]), np.float32)[0]
    if not np.isfinite(vector).all():
        raise InputError("The model makes nothing of that image; try another.")
    small = Image.fromarray(frame.pixels)
    small.thumbnail((LARGEST, LARGEST))
    return Brought(vector, content, printable(file.name), np.asarray(small), frame.tags, frame.index, frame.count)
