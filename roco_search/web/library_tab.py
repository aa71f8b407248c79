"""The Library tab: what is indexed, as charts; what could not be read, and why; and the map to explore."""

from __future__ import annotations

from typing import Any

import gradio as gr

from roco_search.embedding_map import available_methods
from roco_search.embedding_map.drawing import TITLES
from roco_search.library import LibraryStatus

from . import charts, markup
from .desk import Desk
from .parts import html
from .telling import Changes, told

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
            charts.counts("Images by modality", found.modalities, found.frames),
            charts.counts("Images by body part", found.body_parts, found.frames),
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
