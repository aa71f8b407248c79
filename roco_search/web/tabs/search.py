"""The Search tab: words, an image or both; filters by what the library holds; a gallery of the hits.

Wherever a search comes from, what it is stands in the page's address (`web.asking`): the page writes there what an
answer names, and asks for what stands there when it is opened, reloaded or gone back to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from roco_search.errors import InputError, RocoError
from roco_search.vocabulary.concepts import spoken_term
from roco_search.web import markup
from roco_search.web.asking import LONGEST, MOST_LETTERS, PAGE, Conditions, Query, read_address
from roco_search.web.backend import Desk
from roco_search.web.brought import Region
from roco_search.web.chips import chips_of
from roco_search.web.http.uploads import read_upload
from roco_search.web.marks import kept_marks
from roco_search.web.results import results
from roco_search.web.tabs import Changes, html, report_errors

FILTERS = {"modality": "Modality", "body-part": "Body part", "view": "View", "folder": "Folder"}
ORDERS = {"newest": "Last indexed first", "folder": "By folder", "kind": "By modality and body part"}
ASKING: dict[str, Any] = {
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "concurrency_id": "search",
    "concurrency_limit": 2,
    "api_visibility": "undocumented",
}
Choices = dict[str, list[tuple[str, str]]]


@dataclass(slots=True)
class Session:
    """What one page has searched for."""

    query: Query = field(default_factory=Query)
    conditions: Conditions = field(default_factory=Conditions)


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
    kept
        Offer the searches whose marks were kept.
    """

    def __init__(self, desk: Desk, tabs: gr.Tabs, uploads: Path, *, kept: bool = False) -> None:
        self._desk, self._tabs, self._uploads, self._kept = desk, tabs, uploads, kept
        self.session = gr.State(Session(), time_to_live=3600)
        with gr.Row(elem_id="roco-ask"):
            self.text = gr.Textbox(
                label="Search for", placeholder="brain MRI", lines=1, max_lines=1, max_length=MOST_LETTERS, scale=8,
                elem_id="roco-text",
            )  # fmt: skip
            self.button = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="roco-search")
        with gr.Row(elem_id="roco-columns"):
            with gr.Column(scale=1, min_width=250, elem_id="roco-aside"):
                self._make_filters()
            with gr.Column(scale=4, min_width=320):
                self.start = html("", js_on_load="roco.start(element, watch)", elem_id="roco-start")
                self.status = html(markup.note("Reading the library…"), elem_id="roco-status")
                self.chips = html("", js_on_load="roco.chips(element)", elem_id="roco-understood")
                self.gallery = html(
                    "", js_on_load="roco.gallery(element, watch), roco.settle()", elem_id="roco-gallery"
                )
        # What the page asks for by an address: the first time as soon as it is there.
        self.ear = html("", js_on_load="roco.ear(element, trigger)", elem_id="roco-ear", elem_classes="roco-hidden")
        self._listen()

    def _make_filters(self) -> None:
        self._choices = _choices(self._desk)
        with gr.Accordion("Filters and image", open=True, elem_id="roco-filters"):
            self.filters = [
                gr.Dropdown(
                    self._choices[name], value=[], multiselect=True, label=label, elem_id=f"roco-{name}",
                    visible=bool(self._choices[name]),
                )
                for name, label in FILTERS.items()
            ]  # fmt: skip
            self.guess = gr.Checkbox(False, label="Guess missing modality and body part", elem_id="roco-guess")
            self.series = gr.Checkbox(True, label="One result per series or case", elem_id="roco-series")
            self.upload = gr.File(label="Find images like this one", height=150, elem_id="roco-upload")
            self.chip = html("", js_on_load="roco.crop(element)", elem_id="roco-brought")
            self.forget = gr.Button("Remove the image", size="sm", visible=False, elem_id="roco-forget")

    def _listen(self) -> None:
        results = [self.status, self.gallery, self.session, self.chips, self.start]
        choices: list[Any] = [*self.filters, self.guess, self.series]
        asked = [self.session, self.text, *choices]
        brought = [self.upload, self.chip, self.forget]
        gr.on([self.text.submit, self.button.click], self.search, asked, results, api_name="search", **ASKING)
        # `input` is what a person changes; `change` would also fire when the page itself sets a value.
        gr.on([choice.input for choice in choices], self.refine, asked, results, **ASKING)
        self.upload.upload(self.bring, [self.upload, *asked], [*results, *brought], **ASKING)
        self.forget.click(self.drop, asked, [*results, *brought], **ASKING)
        every = [*results, *brought, self.text, *choices, self._tabs]
        # The page waits for an answer before it asks again; "always_last" would then ask the former question once more.
        self.ear.like(self.heard, [self.session], every, **{**ASKING, "trigger_mode": "multiple"})

    @report_errors
    def search(self, session: Session, text: str, *choices: Any) -> Changes:
        """Search for the words, together with the uploaded image, if there is one."""
        query = Query(text, session.query.upload)
        if not query.asks:
            raise InputError('Write what to look for, such as "brain MRI", or add an image.')
        return self._shown(query, _conditions(choices))

    @report_errors
    def refine(self, session: Session, _text: str, *choices: Any) -> Changes:
        """Repeat what is shown under other conditions."""
        return self._shown(session.query, _conditions(choices))

    @report_errors
    def heard(self, session: Session, event: gr.EventData) -> Changes:
        """Show what an address asks for; or search for a region of the uploaded image."""
        address, region = event._data.get("address"), event._data.get("region")
        if address is None:
            return self._cut(session, region)
        if not isinstance(address, str) or len(address) > LONGEST:
            raise InputError("This address is not one that the page wrote; start anew from the first page.")
        opened = event._data.get("opened") is True
        fresh: Choices = _choices(self._desk) if opened else self._choices
        try:
            query, conditions, shown = read_address(address, self._desk.brought)
            changes = self._shown(query, conditions, shown)
        except RocoError as error:
            query, conditions = Query(), Conditions()
            changes = {
                self.status: markup.note(str(error), error=True), self.gallery: "", self.chips: "", self.start: "",
                self.session: Session(),
            }  # fmt: skip
        return {
            **changes,
            **self._brought(query),
            **self._filled(conditions, fresh),
            # Somebody may be writing already while the page opens.
            **({} if opened and not query.text else {self.text: query.text}),
            self._tabs: gr.Tabs(selected="search"),
        }

    @report_errors
    def bring(self, file: str | None, _session: Session, text: str, *choices: Any) -> Changes:
        """Search for images like an uploaded one, together with the words, if there are any."""
        if file is None:
            return {}
        try:
            upload = self._desk.brought.keep(read_upload(file, self._uploads, self._desk.encoder))
            query = Query(text, upload)
            return {**self._shown(query, _conditions(choices)), **self._brought(query)}
        except InputError as error:
            return {self.upload: None, self.status: markup.note(str(error), error=True)}

    @report_errors
    def drop(self, _session: Session, text: str, *choices: Any) -> Changes:
        """Search without the uploaded image."""
        query = Query(text.strip())
        return {**self._shown(query, _conditions(choices)), **self._brought(query)}

    def _cut(self, session: Session, region: Any) -> Changes:
        """Search for a region of the uploaded image; for the whole where `region` is empty."""
        if session.query.upload is None:
            raise InputError("The image that was dropped is no longer kept; drop it again.")
        if not isinstance(region, list) or not all(isinstance(share, int | float) for share in region):
            raise InputError("Choose a region of the image.")
        chosen: Region | None = (region[0], region[1], region[2], region[3]) if len(region) == 4 else None
        upload = self._desk.brought.crop(session.query.upload, chosen, self._desk.encoder)
        query = replace(session.query, upload=upload)
        return {**self._shown(query, session.conditions), **self._brought(query)}

    def _brought(self, query: Query) -> Changes:
        shown = "" if query.upload is None else markup.upload(query.upload)
        return {self.upload: None, self.chip: shown, self.forget: gr.update(visible=query.upload is not None)}

    def _filled(self, conditions: Conditions, choices: Choices) -> Changes:
        """Set the filters as an address has them; what the library no longer holds cannot be chosen."""
        lists = (conditions.modality, conditions.body_part, conditions.view, conditions.folder)
        changes: Changes = {self.guess: conditions.guess, self.series: conditions.per_series}
        for dropdown, name, values in zip(self.filters, FILTERS, lists, strict=True):
            known = {value for _, value in choices[name]}
            value = [value for value in values if value in known]
            changed = choices[name] != self._choices[name]
            changes[dropdown] = (
                gr.update(value=value, choices=choices[name], visible=bool(choices[name])) if changed else value
            )
        return changes

    def _shown(self, query: Query, conditions: Conditions, shown: int = PAGE) -> Changes:
        answer = results(self._desk, query, conditions, n=shown)
        understood = answer.found.understood
        return {
            self.status: markup.note(answer.said),
            self.gallery: answer.gallery,
            self.session: Session(query, conditions),
            self.chips: markup.understood(chips_of(understood) if understood else []),
            self.start: "" if query.asks else self._start(query),
        }

    def _start(self, query: Query) -> str:
        return markup.start(self._desk.suggestions(), query.order, ORDERS, kept_marks(self._desk) if self._kept else [])


def _conditions(choices: tuple[Any, ...]) -> Conditions:
    *lists, guess, per_series = choices
    modality, body_part, view, folder = (tuple(values or ()) for values in lists)
    return Conditions(modality, body_part, view, folder, guess=bool(guess), per_series=bool(per_series))


def _labelled(attribute: str, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return a label for each term as people say it, with the term where two have one name, such as CR and DX."""
    spoken = {term: spoken_term(attribute, term) for term in counts}
    several = Counter(spoken.values())
    return [
        (f"{spoken[term]}{f', {term}' if several[spoken[term]] > 1 else ''} ({count:,})", term)
        for term, count in counts.items()
    ]


def _choices(desk: Desk) -> Choices:
    """Return the choices of each filter: a label with the number of pictures, and the value that is sent back."""
    found = desk.holdings()
    terms = {"modality": found.modality, "body-part": found.body_part, "view": found.view}
    choices = {name: _labelled(name.replace("-", "_"), values) for name, values in terms.items()}
    choices["folder"] = [(f"{folder.name} ({folder.count:,})", folder.key) for folder in found.folders]
    return choices
