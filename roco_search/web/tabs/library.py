"""The charts of the Library tab, in the one visual language of `roco_search.figures`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from roco_search.embedding_map import available_methods
from roco_search.embedding_map.drawing import TITLES
from roco_search.figures import PALETTE, style, svg
from roco_search.library import LibraryStatus
from roco_search.web import markup
from roco_search.web.desk import Desk
from roco_search.web.tabs.events import Changes, html, told

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


METHODS = {"pca": "PCA: at once", "umap": "UMAP: slower, keeps neighbours together"}


class LibraryTab:
    """The tab, made inside the current Gradio context; its content is made when it is first looked at.

    Parameters
    ----------
    desk
        Answers for the library.
    tab
        The tab itself.
    """

    def __init__(self, desk: Desk, tab: gr.Tab) -> None:
        self._desk = desk
        self.status = html(markup.note("The library is being read…"), elem_id="roco-holdings")
        gr.Markdown("## Map", elem_id="roco-map-title")
        with gr.Row():
            color = gr.Radio(
                [(title, name) for name, title in TITLES.items()],
                value="modality",
                label="Colours",
                elem_id="roco-color",
            )
            methods = [(METHODS[name], name) for name in sorted(available_methods())]
            method = gr.Radio(
                methods, value="pca", label="Laid out by", elem_id="roco-method", visible=len(methods) > 1
            )
            guess = gr.Checkbox(True, label="Let the model say what headers do not", elem_id="roco-map-guess")
        html("", js_on_load="roco.map(element)", elem_id="roco-map")
        with gr.Accordion("Not readable, and not images", open=False):
            self.refused = html("", elem_id="roco-refused")
        for control, name in ((color, "color"), (method, "method"), (guess, "guess")):
            control.change(None, [control], None, js=f"(value) => {{ roco.setMap('{name}', value); }}")
        tab.select(self.look, None, [self.status, self.refused], show_progress="hidden", api_visibility="undocumented")

    @told
    def look(self) -> Changes:
        """Tell what the library holds now."""
        found = self._desk.status()
        drawn = [
            counts("Images by modality", found.modalities, found.frames),
            counts("Images by body part", found.body_parts, found.frames),
        ]
        figures = "".join(f"<figure>{chart}</figure>" for chart in drawn)
        return {
            self.status: f'{_facts(found)}<div class="roco-charts">{figures}</div>',
            self.refused: (
                f"<h3>Not readable</h3>{markup.table(self._desk, found.skipped, 'Every image could be read.')}"
                f"<h3>DICOM without a picture</h3>{markup.table(self._desk, found.not_images, 'None.')}"
            ),
        }


def _facts(found: LibraryStatus) -> str:
    facts: list[tuple[str, Any]] = [
        ("Images", f"{found.frames:,} from {found.files:,} files"),
        ("Model", f"{found.model.model}, {found.model.dim} dimensions" if found.model else "none"),
        ("Not readable", f"{len(found.skipped):,}"),
    ]
    rows = "".join(f"<dt>{escape_term}</dt><dd>{markup.escape(str(value))}</dd>" for escape_term, value in facts)
    return f'<dl class="roco-facts-list">{rows}</dl>'
