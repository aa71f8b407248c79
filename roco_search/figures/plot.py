"""Plots: matplotlib without pyplot, in colours that colour-blind readers can distinguish, readable when printed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roco_search.figures.page import mark_safe
from roco_search.system.files import write_errors, write_file

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

# Okabe and Ito's palette (2008), with yellow last because it is faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
SEQUENTIAL = "cividis"  # even in lightness, and the same to readers with any colour vision
_DPI = 144

_RC: Any = {
    "figure.facecolor": "white",
    "figure.dpi": _DPI,
    "figure.constrained_layout.use": True,
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: a screen reader can read it, and a browser can search it
    "svg.hashsalt": "roco",  # the same plot gives the same file
}


@contextmanager
def style() -> Iterator[type[Figure]]:
    """Yield matplotlib's ``Figure`` class; figures drawn inside the block have roco's style.

    >>> with style() as figure:
    ...     axes = figure(figsize=(6, 3)).subplots()
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    with mpl.rc_context({**_RC, "axes.prop_cycle": cycler(color=PALETTE)}):
        yield Figure


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file at twice the density of a plain screen."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()


def svg(figure: Figure) -> Markup:
    """Return a figure as an SVG element for a page; matplotlib has escaped its texts."""
    import matplotlib as mpl

    data = io.StringIO()
    with mpl.rc_context(_RC):  # text and ids are formatted now, not when the figure was made
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    text = data.getvalue()
    return mark_safe(text[text.index("<svg") :])


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG file, whole or not at all, readable by its owner alone.

    Raises
    ------
    InputError, StorageFull
        If it cannot be written.
    """
    content = png(figure)
    with write_errors(path):
        write_file(path, content)
