"""A contact sheet: images side by side on a page that holds them itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import ImageError
from roco_search.figures.page import data_uri, page, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

KIND = "contact sheet"
SIDE = 320  # pixels: sharp at the 240 CSS pixels of a card, and on paper


@dataclass(frozen=True, slots=True)
class Card:
    """An image of a sheet: the frame, counted from 0, of a file, and what stands below it, `first` in bold.

    `shown` takes the place of the path, which may name a patient.
    """

    path: str
    frame: int
    first: str
    facts: str
    shown: str | None = None


def contact_sheet(cards: Sequence[Card], title: str, said: str) -> str:
    """Return the page, in ASCII.

    Parameters
    ----------
    cards
        The images; their files are read now. A file that cannot be read shows the reason in its place.
    title, said
        Plain text: the heading, and the sentence below it.
    """
    drawn = [_card(card) for card in cards]
    return page(KIND, title, render("figures/contact_sheet.html", title=title, said=said, cards=drawn))


def thumbnail(path: str, frame: int, side: int) -> Image | str:
    """Draw a frame, counted from 0.

    Parameters
    ----------
    path, frame
        What to draw.
    side
        Side in pixels of the square that the picture has to fit into; a smaller picture is not enlarged.

    Returns
    -------
    PIL.Image.Image or str
        RGB; or the reason, if the file can no longer be read.
    """
    from PIL import Image

    from roco_search.imaging import open_image

    try:
        found = next(open_image(path, frames=(frame,)))
    except ImageError as error:
        return str(error)
    image = Image.fromarray(found.pixels)
    image.thumbnail((side, side))
    return image


def _card(card: Card) -> dict[str, object]:
    drawn = thumbnail(card.path, card.frame, SIDE)
    shown = card.path if card.shown is None else card.shown
    return {
        "first": card.first,
        "facts": card.facts,
        "path": shown,
        "image": None if isinstance(drawn, str) else data_uri(drawn),
        "text": drawn if isinstance(drawn, str) else Path(shown).name,
    }
