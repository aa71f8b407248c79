"""The charts of the Library tab, in the one visual language of `roco_search.figures`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from roco_search.figures import PALETTE, style, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 12


def counts(title: str, values: Mapping[str, int], total: int) -> str:
    """Return a bar chart of how many pictures have each term, as an ``<svg>``.

    Parameters
    ----------
    title
        What is counted.
    values
        Pictures of each term.
    total
        All pictures: what is left over is not stated.
    """
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    shown = [(name.lower() if len(name) > 2 else name, count) for name, count in ranked[:MOST_BARS]]
    if rest := sum(count for _, count in ranked[MOST_BARS:]):
        shown.append(("others", rest))
    if silent := total - sum(values.values()):
        shown.append(("not stated", silent))
    return svg(_drawn(title, shown))


def _drawn(title: str, shown: list[tuple[str, int]]) -> Figure:
    names, numbers = [name for name, _ in shown], [number for _, number in shown]
    from matplotlib.ticker import MaxNLocator

    with style() as new:
        drawn: Figure = new(figsize=(5.6, 0.9 + 0.28 * max(1, len(shown))))
        axes = drawn.subplots()
        axes.set_title(title)
        grey = {"others", "not stated"}
        bars = axes.barh(names, numbers, color=["#8a8a8a" if name in grey else PALETTE[0] for name in names])
        axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=3)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return drawn
