"""The Classify tab: images and labels give probabilities as bars, a row each, and a heat map for each label."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import gradio as gr
import numpy as np

from roco_search.classify import Classifier, Mode, Prediction, split_labels
from roco_search.errors import InputError
from roco_search.vocabulary import finding_lists, image_classes
from roco_search.web import markup
from roco_search.web.backend import Desk
from roco_search.web.http.uploads import LARGEST, UploadedImage, read_upload
from roco_search.web.tabs import Changes, html, report_errors

_EXCLUSIVE = {"Modality": "modality", "Body part": "body_part", "Plane": "plane"}
SETS: dict[str, tuple[Mode, list[str]]] = {
    **{title: ("exclusive", [entry.name for entry in image_classes(name)]) for title, name in _EXCLUSIVE.items()},
    **{title: ("multi-label", list(findings)) for title, findings in finding_lists().items()},
}
"""The label lists that one click chooses: what an image can be, and frequent findings by region."""
MODES: list[tuple[str, Mode]] = [("One of the labels", "exclusive"), ("Findings, each on its own", "multi-label")]
MOST_LABELS = 20
MOST_IMAGES = 50  # at once
LARGEST_OF_SEVERAL = 512  # pixels of the longer side that are kept of each: 0.8 MB
LONGEST_LABEL = 100
ASKING: dict[str, Any] = {
    "trigger_mode": "always_last",
    "concurrency_id": "classify",
    "concurrency_limit": 1,
    "api_visibility": "undocumented",
}


@dataclass(slots=True)
class Looked:
    """The images that a page has uploaded, which of them is shown, the labels, and the prediction for each."""

    brought: list[UploadedImage] = field(default_factory=list)
    chosen: int = 0
    predictions: list[Prediction] = field(default_factory=list)
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
                self.upload = gr.File(
                    label="Images or DICOM files", height=150, file_count="multiple", elem_id="roco-classify-upload"
                )
                self.refused = html("", elem_id="roco-dropped")
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
                    markup.note("Drop an image or several to begin. Each is deleted as soon as it has been read."),
                    elem_id="roco-told",
                )
                self.result = html("", js_on_load="roco.result(element, trigger)", elem_id="roco-result")
        self._listen()

    def _listen(self) -> None:
        asked = [self.looked, self.labels, self.mode]
        answered = [self.status, self.result, self.looked]
        quick: dict[str, Any] = {**ASKING, "show_progress": "hidden"}
        dropped = [*answered, self.upload, self.refused]
        brought = self.upload.upload(self.bring, [self.upload, *asked], dropped, **quick)
        asked_again = gr.on([self.button.click, self.labels.input, self.mode.input], self.ask, asked, answered, **quick)
        chosen = self.result.select(self.choose, [self.looked], answered, **quick)
        for event in (brought, asked_again, chosen):
            event.then(self.explain, [self.looked], answered, **quick)
        for button, name in zip(self.sets, SETS, strict=True):
            chosen = button.click(lambda name=name: SETS[name][::-1], None, [self.labels, self.mode], **quick)
            chosen.then(self.ask, asked, answered, **quick).then(self.explain, [self.looked], answered, **quick)

    @report_errors
    def bring(self, files: list[str] | None, looked: Looked, labels: list[str], mode: str) -> Changes:
        """Classify the images that were uploaded; what cannot be read is named where it was dropped."""
        if not files:
            return {}
        brought: list[UploadedImage] = []
        refused: list[str] = []
        largest = LARGEST if len(files) == 1 else LARGEST_OF_SEVERAL
        for number, file in enumerate(files):
            try:
                if number >= MOST_IMAGES:
                    Path(file).unlink(missing_ok=True)  # the gate lets through only what was uploaded
                else:
                    brought.append(read_upload(file, self._uploads, self._desk.encoder, largest))
            except InputError as error:
                refused.append(str(error))
        if len(files) > MOST_IMAGES:
            refused.append(f"At most {MOST_IMAGES} images at once are classified; the others were left out.")
        changes: Changes = {self.upload: None, self.refused: markup.refusals(refused)}
        if not brought:
            return {**changes, self.status: markup.note("None of these files is an image.")}
        try:
            return {**changes, **self._answer(Looked(brought), labels, mode)}
        except InputError as error:
            return {**changes, self.status: markup.note(str(error), error=True), self.looked: Looked(brought)}

    @report_errors
    def ask(self, looked: Looked, labels: list[str], mode: str) -> Changes:
        """Classify the same images with other labels."""
        if not looked.brought:
            return {self.status: markup.note("Drop an image first.")}
        return self._answer(looked, labels, mode)

    @report_errors
    def choose(self, looked: Looked, event: gr.EventData) -> Changes:
        """Show another of several images."""
        row = event._data.get("row")
        if not isinstance(row, int) or not 0 <= row < len(looked.predictions):
            raise InputError("That image is no longer here; drop it again.")
        return self._shown(replace(looked, chosen=row))

    @report_errors
    def explain(self, looked: Looked) -> Changes:
        """Draw the heat map of every label over the image that is shown, which costs as much as that of one."""
        from PIL import Image

        from roco_search.classify.heat import draw, heat_maps

        if not looked.predictions or len(looked.labels) < 1:
            return {}
        brought, prediction = looked.brought[looked.chosen], looked.predictions[looked.chosen]
        classifier = self._classifier(list(looked.labels), prediction.mode)
        names = [entry.label for entry in prediction.labels]
        directions = np.stack([classifier.contrast(name, prediction.prompt_set) for name in names])
        heats = heat_maps(self._desk.encoder, brought.pixels, directions)
        maps = [(name, draw(brought.pixels, heat)) for name, heat in zip(names, heats, strict=True)]
        picture = markup.image(Image.fromarray(brought.pixels), maps, brought.title)
        done = "The heat map shows what the model looked at; select a label to see its own."
        return {self.result: _rows(looked) + markup.bars(prediction) + picture, self.status: markup.note(done)}

    def _answer(self, looked: Looked, labels: list[str], mode: str) -> Changes:
        classifier = self._classifier(labels or [], mode)
        vectors = np.stack([image.vector for image in looked.brought])
        predictions = list(classifier.predict(vectors, [image.tags for image in looked.brought]))
        names = tuple(label.name for label in classifier.labels)
        return self._shown(replace(looked, predictions=predictions, labels=names))

    def _shown(self, looked: Looked) -> Changes:
        from PIL import Image

        brought = looked.brought[looked.chosen]
        picture = markup.image(Image.fromarray(brought.pixels), [], brought.title)
        return {
            self.status: markup.note("Drawing the heat map: the model looks at the image 144 times…"),
            self.result: _rows(looked) + markup.bars(looked.predictions[looked.chosen]) + picture,
            self.looked: looked,
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


def _rows(looked: Looked) -> str:
    """Return one row for each image; nothing for a single one."""
    if len(looked.brought) < 2:
        return ""
    return markup.rows([(image.title, image.pixels) for image in looked.brought], looked.predictions, looked.chosen)
