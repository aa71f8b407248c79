"""Images in the cells of a table: Hugging Face's ``{bytes, path}``, bytes alone, or a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.errors import UnreadableImage
from roco_search.imaging import open_image, open_image_bytes


def read_cell(cell: Any, folder: Path) -> npt.NDArray[np.uint8]:
    """Render the image in a cell as everywhere in roco.

    Parameters
    ----------
    cell
        Its bytes, a path, or a mapping with ``bytes`` or else ``path``.
    folder
        To which a path is relative.

    Returns
    -------
    numpy.ndarray
        uint8 ``(height, width, 3)``; of several frames the middle one.

    Raises
    ------
    ImageError
        If there is none, or it cannot be read.
    """
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return next(open_image_bytes(cell)).pixels
    if isinstance(cell, str) and cell:
        return next(open_image(folder / cell)).pixels
    raise UnreadableImage("its cell of the table is empty; export the data set again")
