"""The Library tab: what the library holds, its charts and map, and the files that could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import gradio as gr

from roco_search.embedding_map import available_methods
from roco_search.embedding_map.drawing import TITLES
from roco_search.figures import PALETTE, style, svg
from roco_search.vocabulary.concepts import spoken_term
from roco_search.web import markup
from roco_search.web.backend import Desk
from roco_search.web.tabs import Changes, html, report_errors

if TYPE_CHECKING:
    from markupsafe import Markup

METHODS = {"pca": "PCA: immediate", "umap": "UMAP: slower, keeps neighbours together"}
MOST_BARS = 12


class LibraryTab:
    """The tab, made inside the current Gradio context; its content is filled in when it is selected.

    Parameters
    ----------
    desk
        Answers for the library.
    tab
        The tab itself.
    """

    def __init__(self, desk: Desk, tab: gr.Tab) -> None:
        self._desk = desk
        self.status = html(markup.note("Reading the library…"), elem_id="roco-holdings")
        gr.Markdown("## Map", elem_id="roco-map-title")
        with gr.Row():
            color = gr.Radio(
                [(title, name) for name, title in TITLES.items()],
                value="modality",
                label="Colour by",
                elem_id="roco-color",
            )
            methods = [(METHODS[name], name) for name in sorted(available_methods())]
            method = gr.Radio(methods, value="pca", label="Layout", elem_id="roco-method", visible=len(methods) > 1)
            guess = gr.Checkbox(True, label="Guess missing modality and body part", elem_id="roco-map-guess")
        html("", js_on_load="roco.map(element)", elem_id="roco-map")
        with gr.Accordion("Files without a readable image", open=False):
            self.refused = html("", elem_id="roco-refused")
        for control, name in ((color, "color"), (method, "method"), (guess, "guess")):
            control.change(None, [control], None, js=f"(value) => {{ roco.setMap('{name}', value); }}")
        tab.select(self.look, None, [self.status, self.refused], show_progress="hidden", api_visibility="undocumented")

    @report_errors
    def look(self) -> Changes:
        """Show what the library holds now."""
        found = self._desk.status()
        charts = [
            draw_counts("Images by modality", _spoken("modality", found.modalities), found.frames),
            draw_counts("Images by body part", _spoken("body_part", found.body_parts), found.frames),
        ]
        return {
            self.status: markup.library(found, charts),
            self.refused: markup.refused(self._desk, found.skipped, found.not_images),
        }


def _spoken(attribute: str, counts: Mapping[str, int]) -> Counter[str]:
    """Return the counts by what people call the terms; some have one name, such as CR and DX."""
    return sum((Counter({spoken_term(attribute, term): count}) for term, count in counts.items()), Counter())


def draw_counts(title: str, counts: Mapping[str, int], total: int) -> Markup:
    """Return a bar chart of the number of pictures with each term, as SVG.

    Parameters
    ----------
    title
        What is counted.
    counts
        The number of pictures with each term.
    total
        The number of all pictures; the rest is drawn as "not stated".
    """
    from matplotlib.ticker import MaxNLocator

    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    bars = ranked[:MOST_BARS]
    if others := sum(count for _, count in ranked[MOST_BARS:]):
        bars.append(("others", others))
    if not_stated := total - sum(counts.values()):
        bars.append(("not stated", not_stated))
    names, numbers = [name for name, _ in bars], [number for _, number in bars]
    with style() as figure:
        drawn = figure(figsize=(5.6, 0.9 + 0.28 * max(1, len(bars))))
        axes = drawn.subplots()
        axes.set_title(title)
        grey = {"others", "not stated"}
        rows = axes.barh(names, numbers, color=["#8a8a8a" if name in grey else PALETTE[0] for name in names])
        axes.bar_label(rows, [f"{number:,}" for number in numbers], padding=3)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return svg(drawn)
