"""Hits drawn in the terminal, as well as it can: kitty's protocol, sixel, or half blocks."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from rich.text import Text

from roco_search.cli.output import out, short_path
from roco_search.cli.render.contact_sheet import thumbnail
from roco_search.cli.render.hits import body_part, frame, group, modality
from roco_search.errors import InputError
from roco_search.system.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.search import Hit

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
        picture = thumbnail(hit, PIXELS)
        facts = [f"{hit.rank}.", f"{hit.score:.3f}", modality(hit), body_part(hit), frame(hit), group(hit)]
        line = "  ".join(fact for fact in [*facts, short_path(hit.path)] if fact)
        console.print(Text(printable(line)))
        console.print(Text(f"({picture})") if isinstance(picture, str) else Image(picture, height=LINES, width="auto"))
