"""Hits as one HTML page with every picture inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.figures.page import escape, page, picture, write_page

from .hits import body_part, frame, group, modality
from .thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.search import Hit, Term

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
