"""The Classify tab: an image and labels give probabilities as bars, and a heat map for each label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import gradio as gr
import numpy as np

from roco_search.classify import Classifier, Mode, Prediction, split_labels
from roco_search.errors import InputError
from roco_search.vocabulary import finding_lists, image_classes
from roco_search.web import markup
from roco_search.web.backend import Desk
from roco_search.web.http.uploads import UploadedImage, read_upload
from roco_search.web.tabs import Changes, html, report_errors

_EXCLUSIVE = {"Modality": "modality", "Body part": "body_part", "Plane": "plane"}
SETS: dict[str, tuple[Mode, list[str]]] = {
    **{title: ("exclusive", [entry.name for entry in image_classes(name)]) for title, name in _EXCLUSIVE.items()},
    **{title: ("multi-label", list(findings)) for title, findings in finding_lists().items()},
}
"""The label lists that one click chooses: what an image can be, and frequent findings by region."""
MODES: list[tuple[str, Mode]] = [("One of the labels", "exclusive"), ("Findings, each on its own", "multi-label")]
MOST_LABELS = 20
LONGEST_LABEL = 100
ASKING: dict[str, Any] = {
    "trigger_mode": "always_last",
    "concurrency_id": "classify",
    "concurrency_limit": 1,
    "api_visibility": "undocumented",
}


@dataclass(slots=True)
class Looked:
    """The image that a page has uploaded, the labels, and the prediction."""

    brought: UploadedImage | None = None
    prediction: Prediction | None = None
    labels: tuple[str, ...] = ()


class ClassifyTab:
    """The tab, made inside the current Gradio context.

    Parameters
    ----------
    desk
        Has the model.
    uploads
        The folder of uploaded files.
    """

    def __init__(self, desk: Desk, uploads: Path) -> None:
        self._desk, self._uploads = desk, uploads
        mode, labels = SETS["Modality"]
        self.looked = gr.State(Looked(), time_to_live=3600)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.upload = gr.File(label="An image or a DICOM file", height=150, elem_id="roco-classify-upload")
                self.labels = gr.Dropdown(
                    sorted({label for _, words in SETS.values() for label in words}), value=labels, multiselect=True,
                    allow_custom_value=True, max_choices=MOST_LABELS, label="Labels", elem_id="roco-labels",
                    info="Type a label and press Enter; ✕ removes it.",
                )  # fmt: skip
                with gr.Row():
                    self.sets = [gr.Button(name, size="sm", min_width=90, elem_classes="roco-set") for name in SETS]
                self.mode = gr.Radio(MODES, value=mode, label="The image shows", elem_id="roco-mode")
                self.button = gr.Button("Classify", variant="primary", elem_id="roco-classify")
            with gr.Column(scale=3, min_width=320):
                self.status = html(
                    markup.note("Drop an image to begin. It is deleted as soon as it has been read."),
                    elem_id="roco-told",
                )
                self.result = html("", js_on_load="roco.result(element)", elem_id="roco-result")
        self._listen()

    def _listen(self) -> None:
        asked = [self.looked, self.labels, self.mode]
        answered = [self.status, self.result, self.looked]
        quick: dict[str, Any] = {**ASKING, "show_progress": "hidden"}
        brought = self.upload.upload(self.bring, [self.upload, *asked], [*answered, self.upload], **quick)
        asked_again = gr.on([self.button.click, self.labels.input, self.mode.input], self.ask, asked, answered, **quick)
        for event in (brought, asked_again):
            event.then(self.explain, [self.looked], answered, **quick)
        for button, name in zip(self.sets, SETS, strict=True):
            chosen = button.click(lambda name=name: SETS[name][::-1], None, [self.labels, self.mode], **quick)
            chosen.then(self.ask, asked, answered, **quick).then(self.explain, [self.looked], answered, **quick)

    @report_errors
    def bring(self, file: str | None, looked: Looked, labels: list[str], mode: str) -> Changes:
        """Classify an uploaded image."""
        if file is None:
            return {}
        try:
            brought = read_upload(file, self._uploads, self._desk.encoder)
        except InputError as error:
            return {self.upload: None, self.status: markup.note(str(error), error=True)}
        return {**self._answer(Looked(brought), labels, mode), self.upload: None}

    @report_errors
    def ask(self, looked: Looked, labels: list[str], mode: str) -> Changes:
        """Classify the same image with other labels."""
        if looked.brought is None:
            return {self.status: markup.note("Drop an image first.")}
        return self._answer(looked, labels, mode)

    @report_errors
    def explain(self, looked: Looked) -> Changes:
        """Draw the heat map of every label, which costs as much as that of one."""
        from PIL import Image

        from roco_search.classify.heat import draw, heat_maps

        brought, prediction = looked.brought, looked.prediction
        if brought is None or prediction is None or len(looked.labels) < 1:
            return {}
        classifier = self._classifier(list(looked.labels), prediction.mode)
        names = [entry.label for entry in prediction.labels]
        directions = np.stack([classifier.contrast(name, prediction.prompt_set) for name in names])
        heats = heat_maps(self._desk.encoder, brought.pixels, directions)
        maps = [(name, draw(brought.pixels, heat)) for name, heat in zip(names, heats, strict=True)]
        picture = markup.image(Image.fromarray(brought.pixels), maps, brought.title)
        done = "The heat map shows what the model looked at; select a label to see its own."
        return {self.result: markup.bars(prediction) + picture, self.status: markup.note(done)}

    def _answer(self, looked: Looked, labels: list[str], mode: str) -> Changes:
        from PIL import Image

        brought = looked.brought
        assert brought is not None
        classifier = self._classifier(labels or [], mode)
        (prediction,) = classifier.predict(brought.vector[None], [brought.tags])
        picture = markup.image(Image.fromarray(brought.pixels), [], brought.title)
        names = tuple(label.name for label in classifier.labels)
        return {
            self.status: markup.note("Drawing the heat map: the model looks at the image 144 times…"),
            self.result: markup.bars(prediction) + picture,
            self.looked: replace(looked, prediction=prediction, labels=names),
        }

    def _classifier(self, labels: list[str], mode: str) -> Classifier:
        if len(labels) > MOST_LABELS or any(len(label) > LONGEST_LABEL for label in labels):
            raise InputError(
                f"Use at most {MOST_LABELS} labels of at most {LONGEST_LABEL} characters; remove or shorten some."
            )
        if not labels:
            raise InputError("There is no label; type one and press Enter.")
        if len(labels) == 1 and mode == "exclusive":
            raise InputError("A single label always gets 100 %; add another, or choose findings.")
        return Classifier(self._desk.encoder, split_labels(labels), cast("Mode", mode))
