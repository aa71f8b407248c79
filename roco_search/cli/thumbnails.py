"""Small pictures of hits, drawn from the files themselves: a library holds none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roco_search.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from roco_search.search import Hit


def thumbnail(hit: Hit, side: int) -> Image | str:
    """Draw the frame of a hit.

    Parameters
    ----------
    hit
        What to draw.
    side
        Of the square into which it has to fit, in pixels. A smaller picture stays as it is.

    Returns
    -------
    PIL.Image.Image or str
        RGB; or, where the file cannot be read any more, the reason.
    """
    from PIL import Image

    from roco_search.imaging import open_image

    try:
        frame = next(open_image(hit.path, frames=(hit.frame,)))
    except ImageError as error:
        return str(error)
    image = Image.fromarray(frame.pixels)
    image.thumbnail((side, side))
    return image
