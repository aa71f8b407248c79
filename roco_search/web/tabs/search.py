"""The Search tab: a text, an image or both; filters of what the library holds; a gallery of what was found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from roco_search.errors import InputError
from roco_search.web import markup
from roco_search.web.desk import Desk, Found, Query, Upload, Where
from roco_search.web.http.uploads import take
from roco_search.web.tabs import Changes, html, report_errors

FILTERS = {"modality": "Modality", "body-part": "Body part", "view": "View", "folder": "Folder"}
ASKING: dict[str, Any] = {
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "concurrency_id": "search",
    "concurrency_limit": 2,
    "api_visibility": "undocumented",
}


@dataclass(slots=True)
class Session:
    """What one page has asked for so far, and what it shows of it."""

    query: Query = field(default_factory=Query)
    where: Where = field(default_factory=Where)
    items: str = ""
    count: int = 0


class SearchTab:
    """The tab, made inside the current Gradio context.

    Parameters
    ----------
    desk
        Answers for the library.
    tabs
        All tabs: this one comes to the front when "more like this" is asked for elsewhere.
    uploads
        The folder of what a person brings.
    """

    def __init__(self, desk: Desk, tabs: gr.Tabs, uploads: Path) -> None:
        self._desk, self._tabs, self._uploads = desk, tabs, uploads
        self.session = gr.State(Session(), time_to_live=3600)
        with gr.Row(elem_id="roco-ask"):
            self.text = gr.Textbox(
                label="What to look for", placeholder="brain MRI", lines=1, max_lines=1, max_length=1000, scale=8,
                elem_id="roco-text",
            )  # fmt: skip
            self.button = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="roco-search")
        with gr.Row(elem_id="roco-columns"):
            with gr.Column(scale=1, min_width=250):
                self._make_filters()
            with gr.Column(scale=4, min_width=320):
                here = f"{desk.status().frames:,} images are here."
                self.status = html(markup.note(here), elem_id="roco-status")
                self.gallery = html("", js_on_load="roco.gallery(element); roco.settle()", elem_id="roco-gallery")
                self.more = gr.Button("Show more", visible=False, elem_id="roco-more")
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
            self.guess = gr.Checkbox(False, label="Let the model say what headers do not", elem_id="roco-guess")
            self.series = gr.Checkbox(True, label="One hit a series", elem_id="roco-series")
            self.upload = gr.File(label="An image to look for", height=150, elem_id="roco-upload")
            self.chip = html("", elem_id="roco-brought")
            self.forget = gr.Button("Forget the image", size="sm", visible=False, elem_id="roco-forget")

    def _listen(self) -> None:
        results = [self.status, self.gallery, self.more, self.session]
        choices: list[Any] = [*self.filters, self.guess, self.series]
        asked = [self.session, self.text, *choices]
        brought = [self.upload, self.chip, self.forget]
        gr.on([self.text.submit, self.button.click], self.search, asked, results, api_name="search", **ASKING)
        # Chosen by a person, not set by the page: `input`.
        gr.on([choice.input for choice in choices], self.refine, asked, results, **ASKING)
        self.more.click(self.go_on, [self.session], results, **ASKING)
        self.upload.upload(self.bring, [self.upload, *asked], [*results, *brought], **ASKING)
        self.forget.click(self.drop, asked, [*results, *brought], **ASKING)
        self.ear.like(self.like, [self.session], [*results, *brought, self.text, self._tabs], **ASKING)

    @report_errors
    def search(self, session: Session, text: str, *choices: Any) -> Changes:
        """Look for the words, and for the image that was brought, if there is one."""
        return self._begin(Query(text, session.query.upload), _where(choices))

    @report_errors
    def refine(self, session: Session, _text: str, *choices: Any) -> Changes:
        """Ask the same again under other conditions; note them where nothing was asked yet."""
        if session.query == Query():
            return {self.session: replace(session, where=_where(choices))}
        return self._begin(session.query, _where(choices))

    @report_errors
    def go_on(self, session: Session) -> Changes:
        """Show the next page below what is there."""
        return self._shown(session, self._desk.find(session.query, session.where, offset=session.count))

    @report_errors
    def like(self, session: Session, event: gr.EventData) -> Changes:
        """Look for what is like a picture of the library, under the conditions that are set."""
        frame_id = event._data.get("id")
        if not isinstance(frame_id, int):
            raise InputError("That is no picture of the library; search again.")
        changes = self._begin(Query(like=frame_id), session.where)
        return {**changes, **self._without_upload(), self.text: "", self._tabs: gr.Tabs(selected="search")}

    @report_errors
    def bring(self, file: str | None, _session: Session, text: str, *choices: Any) -> Changes:
        """Look for what is like an uploaded image, together with the words, if there are any."""
        if file is None:
            return {}
        try:
            brought = take(file, self._uploads, self._desk.encoder)
            upload = Upload(brought.vector, brought.content, brought.title)
            changes = self._begin(Query(text, upload), _where(choices))
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
        """Go on without the image that was brought."""
        if text.strip():
            return {**self._begin(Query(text), _where(choices)), **self._without_upload()}
        nothing = {self.gallery: "", self.more: gr.update(visible=False), self.status: markup.note("")}
        return {**nothing, self.session: Session(where=_where(choices)), **self._without_upload()}

    def _without_upload(self) -> Changes:
        return {self.upload: None, self.chip: "", self.forget: gr.update(visible=False)}

    def _begin(self, query: Query, where: Where) -> Changes:
        return self._shown(Session(query, where), self._desk.find(query, where))

    def _shown(self, session: Session, found: Found) -> Changes:
        session = replace(
            session,
            items=session.items + markup.cards(self._desk, found),
            count=session.count + len(found.hits),
        )
        return {
            self.status: markup.note(self._summary(session, found)),
            self.gallery: markup.gallery(session.items),
            self.more: gr.update(visible=found.more),
            self.session: session,
        }

    def _summary(self, session: Session, found: Found) -> str:
        if not session.count:
            return "Nothing passes all of these conditions; leave out a filter."
        what = "images, the best first"
        if session.query.like is not None and (frame := self._desk.frame(session.query.like)) is not None:
            what = f"images like {self._desk.name(frame.path)}"
        folded = sum(hit.folded for _, hit in found.hits)
        twins = f" Not shown: near-duplicates of these ({folded})." if folded else ""
        return f"{session.count} of {found.total:,} {what}, in {found.seconds:.2f} s.{twins}"


def _where(choices: tuple[Any, ...]) -> Where:
    *lists, guess, per_series = choices
    modality, body_part, view, folder = (tuple(values or ()) for values in lists)
    return Where(modality, body_part, view, folder, guess=bool(guess), per_series=bool(per_series))


def _choices(desk: Desk) -> dict[str, list[tuple[str, str]]]:
    """Return the choices of each filter, with how many pictures each has, and by what the server knows them."""
    found = desk.holdings()
    terms = {"modality": found.modality, "body-part": found.body_part, "view": found.view}
    choices = {name: [(f"{term} ({n:,})", term) for term, n in values.items()] for name, values in terms.items()}
    choices["folder"] = [(f"{folder.name} ({folder.count:,})", folder.key) for folder in found.folders]
    return choices
