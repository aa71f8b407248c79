"""Small pictures of hits, drawn from the files themselves: a library holds none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.cli.render.hits import body_part, frame, group, modality
from roco_search.errors import ImageError
from roco_search.figures.page import escape, page, picture, write_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from roco_search.search import Hit, Term


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


SIDE = 320  # Pixels: sharp at the 240 CSS pixels of a card, and on paper.
KIND = "contact sheet"


def contact_sheet(hits: Sequence[Hit], title: str) -> str:
    """Return the page, ASCII alone.

    Parameters
    ----------
    hits
        What was found; their files are read now. One that cannot be read shows the reason in its place.
    title
        What was looked for.
    """
    cards = "\n".join(_card(hit) for hit in hits)
    body = f"""<header>
<h1>{escape(title)}</h1>
<p>{len(hits)} images, the best first. The score is a cosine similarity: it ranks, it is not a probability.</p>
<p>This page contains the images themselves, and file names can name patients: keep it as you keep the scans.</p>
</header>
<ol>
{cards}
</ol>"""
    return page(KIND, title, body)


def write_contact_sheet(path: Path, hits: Sequence[Hit], terms: Sequence[Term]) -> None:
    """Write the page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite what is not such a page.
    """
    write_page(path, KIND, contact_sheet(hits, describe(terms)))


def describe(terms: Sequence[Term]) -> str:
    """Return a query as a person would write it down."""
    parts = []
    for term in terms:
        content = term.content.name if isinstance(term.content, Path) else term.content
        weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
        parts.append(f"{'− ' if term.weight < 0 else '+ '}{weight}{content}")
    return " ".join(parts).removeprefix("+ ")


def _card(hit: Hit) -> str:
    known = [fact for fact in (modality(hit), body_part(hit), frame(hit) and f"frame {frame(hit)}", group(hit)) if fact]
    return (
        f'<li><p class="picture">{_picture(hit)}</p><p class="facts"><b>{hit.rank}. {hit.score:.3f}</b> '
        f'{escape(" · ".join(known))} <span class="path">{escape(hit.path)}</span></p></li>'
    )


def _picture(hit: Hit) -> str:
    image = thumbnail(hit, SIDE)
    return escape(image) if isinstance(image, str) else picture(image, Path(hit.path).name)
