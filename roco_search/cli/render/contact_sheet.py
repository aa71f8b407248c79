"""Hits as pictures: on a contact sheet, and as rows in the terminal by kitty, sixel or half blocks."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from roco_search.cli.output import out, short_path
from roco_search.cli.render.hits import body_part, frame, group, modality
from roco_search.errors import InputError
from roco_search.figures import contact_sheet as sheets
from roco_search.figures.page import write_page
from roco_search.system.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.search import Hit, Term


def contact_sheet(hits: Sequence[Hit], title: str) -> str:
    """Return the page of hits, the best first; see `roco_search.figures.contact_sheet`."""
    said = f"{len(hits)} images, the best first. The score is a cosine similarity: it ranks, it is not a probability."
    return sheets.contact_sheet([_card(hit) for hit in hits], title, said)


def write_contact_sheet(path: Path, hits: Sequence[Hit], terms: Sequence[Term]) -> None:
    """Write the page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite a file that is not such a page.
    """
    write_page(path, sheets.KIND, contact_sheet(hits, describe(terms)))


def describe(terms: Sequence[Term]) -> str:
    """Return a query as a person would write it down."""
    parts = []
    for term in terms:
        content = term.content.name if isinstance(term.content, Path) else term.content
        weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
        parts.append(f"{'− ' if term.weight < 0 else '+ '}{weight}{content}")
    return " ".join(parts).removeprefix("+ ")


def _card(hit: Hit) -> sheets.Card:
    known = [fact for fact in (modality(hit), body_part(hit), frame(hit) and f"frame {frame(hit)}", group(hit)) if fact]
    return sheets.Card(hit.path, hit.frame, f"{hit.rank}. {hit.score:.3f}", " · ".join(known))


LINES = 12  # Height of a picture: three fit on a usual screen.
PIXELS = 512  # More than twelve lines have on any screen.


def draw(hits: Sequence[Hit]) -> None:
    """Print each hit with its picture.

    Raises
    ------
    InputError
        If the output is no terminal, or one without a size (a serial line).
    """
    if not sys.stdout.isatty() or not all(os.get_terminal_size(sys.stdout.fileno())):
        raise InputError("--preview needs a terminal, and this output is not one; write a page with --html FILE.")
    # A terminal that does not report what it can draw is no error, and needs no traceback.
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)
    try:
        # Importing it queries the terminal.
        from textual_image.renderable import Image
    except ImportError:
        raise InputError(
            "--preview needs textual-image; run 'pip install textual-image', or use --html FILE."
        ) from None

    console = out()
    for hit in hits:
        picture = sheets.thumbnail(hit.path, hit.frame, PIXELS)
        facts = [f"{hit.rank}.", f"{hit.score:.3f}", modality(hit), body_part(hit), frame(hit), group(hit)]
        line = "  ".join(fact for fact in [*facts, short_path(hit.path)] if fact)
        console.print(Text(printable(line)))
        console.print(Text(f"({picture})") if isinstance(picture, str) else Image(picture, height=LINES, width="auto"))
