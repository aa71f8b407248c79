"""The Search tab: words, an image or both; filters by what the library holds; a gallery of the hits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from roco_search.errors import InputError
from roco_search.web import markup
from roco_search.web.backend import Conditions, Desk, Found, Query, Upload
from roco_search.web.chips import chips_of
from roco_search.web.http.uploads import read_upload
from roco_search.web.tabs import Changes, html, report_errors

FILTERS = {"modality": "Modality", "body-part": "Body part", "view": "View", "folder": "Folder"}
MOST_LETTERS = 1000  # of a query
ASKING: dict[str, Any] = {
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "concurrency_id": "search",
    "concurrency_limit": 2,
    "api_visibility": "undocumented",
}


@dataclass(slots=True)
class Session:
    """What one page has searched for, and the hits that it shows: their cards as HTML, and their number."""

    query: Query = field(default_factory=Query)
    conditions: Conditions = field(default_factory=Conditions)
    items: str = ""
    count: int = 0


class SearchTab:
    """The tab, made inside the current Gradio context.

    Parameters
    ----------
    desk
        Answers for the library.
    tabs
        All tabs: this one comes to the front when "More like this" is pressed in another.
    uploads
        The folder of uploaded files.
    """

    def __init__(self, desk: Desk, tabs: gr.Tabs, uploads: Path) -> None:
        self._desk, self._tabs, self._uploads = desk, tabs, uploads
        # What the page shows before a search is made with the page, so that it can never come after one.
        first = desk.browse(Conditions())
        session = self._longer(Session(), first)
        self.session = gr.State(session, time_to_live=3600)
        with gr.Row(elem_id="roco-ask"):
            self.text = gr.Textbox(
                label="Search for", placeholder="brain MRI", lines=1, max_lines=1, max_length=MOST_LETTERS, scale=8,
                elem_id="roco-text",
            )  # fmt: skip
            self.button = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="roco-search")
        with gr.Row(elem_id="roco-columns"):
            with gr.Column(scale=1, min_width=250):
                self._make_filters()
            with gr.Column(scale=4, min_width=320):
                summary = self._summary(session, first)
                self.status = html(markup.note(summary), elem_id="roco-status")
                self.chips = html("", js_on_load="roco.chips(element)", elem_id="roco-understood")
                self.gallery = html(
                    markup.gallery(session.items, summary), js_on_load="roco.gallery(element); roco.settle()",
                    elem_id="roco-gallery",
                )  # fmt: skip
                self.more = gr.Button("Show more", visible=first.more, elem_id="roco-more")
        self.ear = html(
            "", js_on_load="roco.ear(element, trigger, 'like')", elem_id="roco-ear", elem_classes="roco-hidden"
        )
        self._listen()

    def _make_filters(self) -> None:
        with gr.Accordion("Filters and image", open=True, elem_id="roco-filters"):
            choices = _choices(self._desk)
            self.filters = [
                gr.Dropdown(
                    choices[name], value=[], multiselect=True, label=label, elem_id=f"roco-{name}",
                    visible=bool(choices[name]),
                )
                for name, label in FILTERS.items()
            ]  # fmt: skip
            self.guess = gr.Checkbox(False, label="Guess missing modality and body part", elem_id="roco-guess")
            self.series = gr.Checkbox(True, label="One result per series or case", elem_id="roco-series")
            self.upload = gr.File(label="Find images like this one", height=150, elem_id="roco-upload")
            self.chip = html("", elem_id="roco-brought")
            self.forget = gr.Button("Remove the image", size="sm", visible=False, elem_id="roco-forget")

    def _listen(self) -> None:
        results = [self.status, self.gallery, self.more, self.session, self.chips]
        choices: list[Any] = [*self.filters, self.guess, self.series]
        asked = [self.session, self.text, *choices]
        brought = [self.upload, self.chip, self.forget]
        gr.on([self.text.submit, self.button.click], self.search, asked, results, api_name="search", **ASKING)
        # `input` is what a person changes; `change` would also fire when the page itself sets a value.
        gr.on([choice.input for choice in choices], self.refine, asked, results, **ASKING)
        self.more.click(self.go_on, [self.session], results, **ASKING)
        self.upload.upload(self.bring, [self.upload, *asked], [*results, *brought], **ASKING)
        self.forget.click(self.drop, asked, [*results, *brought], **ASKING)
        self.ear.like(self.heard, [self.session], [*results, *brought, self.text, self._tabs], **ASKING)

    @report_errors
    def search(self, session: Session, text: str, *choices: Any) -> Changes:
        """Search for the words, together with the uploaded image, if there is one."""
        query, conditions = Query(text, session.query.upload), _conditions(choices)
        return self._shown(Session(query, conditions), self._desk.find(query, conditions))

    @report_errors
    def refine(self, session: Session, _text: str, *choices: Any) -> Changes:
        """Repeat what is shown under other conditions."""
        return self._begin(session.query, _conditions(choices))

    @report_errors
    def go_on(self, session: Session) -> Changes:
        """Show the next hits below the others."""
        return self._shown(session, self._found(session.query, session.conditions, offset=session.count))

    @report_errors
    def heard(self, session: Session, event: gr.EventData) -> Changes:
        """Search again: for images like one of the library, or without what a chip says, under the same conditions."""
        text = event._data.get("text")
        if isinstance(text, str):
            query = replace(session.query, text=text[:MOST_LETTERS], verbatim=event._data.get("verbatim") is True)
            return {**self._begin(query, session.conditions), self.text: query.text}
        frame_id = event._data.get("id")
        if not isinstance(frame_id, int):
            raise InputError("That is not an image of the library; search again.")
        changes = self._begin(Query(like=frame_id), session.conditions)
        return {**changes, **self._without_upload(), self.text: "", self._tabs: gr.Tabs(selected="search")}

    @report_errors
    def bring(self, file: str | None, _session: Session, text: str, *choices: Any) -> Changes:
        """Search for images like an uploaded one, together with the words, if there are any."""
        if file is None:
            return {}
        try:
            brought = read_upload(file, self._uploads, self._desk.encoder)
            upload = Upload(brought.vector, brought.title)
            changes = self._begin(Query(text, upload), _conditions(choices))
        except InputError as error:
            return {self.upload: None, self.status: markup.note(str(error), error=True)}
        return {
            **changes,
            self.upload: None,
            self.chip: markup.upload(brought.title),
            self.forget: gr.update(visible=True),
        }

    @report_errors
    def drop(self, _session: Session, text: str, *choices: Any) -> Changes:
        """Search without the uploaded image."""
        return {**self._begin(Query(text.strip()), _conditions(choices)), **self._without_upload()}

    def _without_upload(self) -> Changes:
        return {self.upload: None, self.chip: "", self.forget: gr.update(visible=False)}

    def _begin(self, query: Query, conditions: Conditions) -> Changes:
        return self._shown(Session(query, conditions), self._found(query, conditions))

    def _found(self, query: Query, conditions: Conditions, offset: int = 0) -> Found:
        if query == Query():
            return self._desk.browse(conditions, offset=offset)
        return self._desk.find(query, conditions, offset=offset)

    def _longer(self, session: Session, found: Found) -> Session:
        items = session.items + markup.cards(self._desk, found)
        return replace(session, items=items, count=session.count + len(found.hits))

    def _shown(self, session: Session, found: Found) -> Changes:
        session = self._longer(session, found)
        summary = self._summary(session, found)
        return {
            self.status: markup.note(summary),
            self.gallery: markup.gallery(session.items, summary),
            self.more: gr.update(visible=found.more),
            self.session: session,
            self.chips: markup.understood(chips_of(found.understood) if found.understood else []),
        }

    def _summary(self, session: Session, found: Found) -> str:
        if not session.count:
            return "No image matches all of these filters; remove one."
        if session.query == Query():
            return f"{session.count} of {found.total:,} images, those that were indexed last first."
        what = "images, the best first"
        if found.hits and all(hit.match in {"weak", "none"} for _, hit in found.hits):
            what = "images; nothing here fits well, and these are the nearest"
        if session.query.like is not None and (frame := self._desk.frame(session.query.like)) is not None:
            what = f"images like {self._desk.name(frame.path)}"
        folded = sum(hit.folded for _, hit in found.hits)
        twins = f" Near-duplicates left out: {folded}." if folded else ""
        return f"{session.count} of {found.total:,} {what}, in {found.seconds:.2f} s.{twins}"


def _conditions(choices: tuple[Any, ...]) -> Conditions:
    *lists, guess, per_series = choices
    modality, body_part, view, folder = (tuple(values or ()) for values in lists)
    return Conditions(modality, body_part, view, folder, guess=bool(guess), per_series=bool(per_series))


def _choices(desk: Desk) -> dict[str, list[tuple[str, str]]]:
    """Return the choices of each filter: a label with the number of pictures, and the value that is sent back."""
    found = desk.holdings()
    terms = {"modality": found.modality, "body-part": found.body_part, "view": found.view}
    choices = {name: [(f"{term} ({n:,})", term) for term, n in values.items()] for name, values in terms.items()}
    choices["folder"] = [(f"{folder.name} ({folder.count:,})", folder.key) for folder in found.folders]
    return choices
