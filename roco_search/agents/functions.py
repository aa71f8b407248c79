"""What a program may ask of a library. Every function only reads, and returns plain data.

An answer has ids, scores, matches and attributes of the allow-list. It has paths unless these are redacted, never a
caption or a report (these may name patients), and pixels only where they were allowed when the process began.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roco_search.agents.kept import Answer, Kept, check_page
from roco_search.classify import Classifier, Picture, Prediction, split_labels
from roco_search.classify.reading import ImageFile, read_pictures
from roco_search.curation.similar import find_similar
from roco_search.errors import ImageError, InputError, RocoError
from roco_search.imaging import Tags
from roco_search.imaging.walk import is_below
from roco_search.library import Library, StoredFrame
from roco_search.models.encoder import NO_EMBEDDING, ct_windows
from roco_search.search import Filters, Hit, search
from roco_search.search.understanding import understand
from roco_search.system.text import printable

if TYPE_CHECKING:
    from roco_search.web.backend import Desk

Grouping = Literal["series", "study", "file", "none"]

LONGEST_TEXT = 1000
SIDE = 512  # pixels of the longer side of a picture

UNAVAILABLE = "That cannot be read now; ask the person who started roco to run `roco doctor`."
_PATH = re.compile(r"(?<![\w.])[/~]\S")
OUTSIDE = (
    "Only files inside the folders that the library has indexed can be classified; give the id of a hit, or a path "
    "inside these folders."
)


class Functions(Kept):
    """The questions that a program may ask.

    Parameters
    ----------
    desk
        Answers for the library, from any thread.
    redact_paths
        Leave paths out of every answer.
    allow_images
        Whether `picture` returns pixels.
    """

    def __init__(self, desk: Desk, *, redact_paths: bool = False, allow_images: bool = False) -> None:
        super().__init__(desk, redact_paths=redact_paths)
        self.allow_images = allow_images

    def search(
        self,
        text: str,
        modality: Sequence[str] = (),
        body_part: Sequence[str] = (),
        view: Sequence[str] = (),
        n: int = 10,
        offset: int = 0,
        group_by: Grouping = "series",
        only_matches: bool = False,
        guess: bool = False,
    ) -> Answer:
        """Find the images that fit a text best, such as "pleural effusion" or "axial brain MRI without contrast".

        Parameters
        ----------
        text
            What to look for.
        modality, body_part, view
            Filters in words or DICOM's terms, such as ["CT"], ["chest"], ["axial"]. Several of one kind are
            alternatives.
        n, offset
            How many hits to return (at most 100), after how many others.
        group_by
            One hit a series, study or file; "none" for every picture.
        only_matches
            Leave out what does not fit.
        guess
            Let the model say the modality and the body part where a file does not.
        """
        words = text.strip()
        if not words:
            raise InputError('The text is empty; write what to look for, such as "pleural effusion".')
        if len(words) > LONGEST_TEXT:
            raise InputError(f"The text has {len(words):,} characters; use {LONGEST_TEXT:,} at most.")
        check_page(n, offset)
        filters = Filters(modality=tuple(modality), body_part=tuple(body_part), view=tuple(view))

        # Not by the words of captions, as `search.read` does: a misspelt name would come back as the right one.
        understood = understand(words)

        def question(library: Library) -> Answer:
            hits = search(
                library,
                self._desk.encoder,
                [words],
                n=n,
                offset=offset,
                filters=filters,
                group_by=group_by,
                only_matches=only_matches,
                guess=guess,
                understood=understood,
            )
            return {"understood": understood.line or None, "hits": self._hits(library, hits)}

        return self._desk.ask(question)

    def similar(self, image_id: int, n: int = 10, other_series: bool = False) -> Answer:
        """Find the images most similar to one of the library, without a model.

        Parameters
        ----------
        image_id
            The id of a hit.
        n
            How many to return, at most 100.
        other_series
            Leave out the series of the image, whose neighbouring slices are nearest.
        """
        check_page(n, 0)

        def question(library: Library) -> Answer:
            frame = _frame(library, image_id)
            found = find_similar(library, frame.path, n=n, frame=frame.frame, other_series=other_series)
            return {"hits": self._hits(library, found)}

        return self._desk.ask(question)

    def classify(
        self,
        labels: Sequence[str],
        image_id: int | None = None,
        path: str | None = None,
        multi_label: bool = False,
    ) -> Answer:
        """Say which of several labels fit an image best. The probabilities are the model's, not clinical ones.

        Parameters
        ----------
        labels
            What the image may be called, such as ["normal", "pneumonia"].
        image_id, path
            The image: the id of a hit, or a file inside an indexed folder. One of them.
        multi_label
            Judge each label on its own, against its opposite; otherwise the labels exclude each other.
        """
        if (image_id is None) == (path is None):
            raise InputError("Give one image: the id of a hit, or a path.")
        names = split_labels([label for label in labels if label.strip()])
        classifier = Classifier(self._desk.encoder, names, "multi-label" if multi_label else "exclusive")
        (found,) = self._by_id(classifier, image_id) if image_id is not None else self._by_path(classifier, path or "")
        answer: Answer = {
            "mode": found.mode,
            "labels": [
                {"label": label.label, "probability": label.probability, "score": label.score} for label in found.labels
            ],
            "prompt_set": found.prompt_set,
            "guessed": found.guessed,
        }
        if image_id is not None:
            answer["id"] = image_id
        return answer

    def status(self) -> Answer:
        """Say what the library holds: images, files, modalities, body parts, the model, and the indexed folders."""
        found = self._desk.status()
        answer: Answer = {
            "images": found.frames,
            "files": found.files,
            "unreadable_files": len(found.skipped),
            "modalities": found.modalities,
            "body_parts": found.body_parts,
            "captions": found.captions,
            "model": None,
            "folders": len(found.roots),
        }
        if found.model is not None:
            name = found.model.model
            if self.redact_paths and os.path.isabs(name):  # noqa: PTH117 - a model may be named by its folder
                name = "a model of the person's own"
            answer["model"] = {"name": name, "dim": found.model.dim, "fingerprint": found.model.fingerprint}
        if not self.redact_paths:
            answer["folders"] = [
                {"path": printable(root.path), "files": root.files, "present": root.present} for root in found.roots
            ]
        return answer

    def picture(self, image_id: int) -> bytes:
        """Return an image of the library as a PNG of at most 512 pixels, without metadata."""
        from PIL import Image

        from roco_search.web.http.pictures import rendered

        if not self.allow_images:
            raise InputError("Images are not given out; the person who started roco can allow it.")
        frame = self._desk.ask(lambda library: _frame(library, image_id))
        image: Image.Image = rendered(frame.path, frame.frame, SIDE)
        data = io.BytesIO()
        image.save(data, "PNG")
        return data.getvalue()

    def sentence(self, error: RocoError) -> str:
        """Return what a program may read of a refusal: where paths are redacted, nothing that names one."""
        if isinstance(error, ImageError):
            return f"The image cannot be read: {error}."
        if self.redact_paths and (not isinstance(error, InputError) or _PATH.search(str(error))):
            return UNAVAILABLE
        return str(error)

    def _hits(self, library: Library, hits: Sequence[Hit]) -> list[Answer]:
        found = []
        for hit in hits:
            kept: Answer = {"id": library.frames.id_of(hit.path, hit.frame)}
            kept |= {name: getattr(hit, name) for name in HIT_FIELDS}
            if not self.redact_paths:
                kept["path"] = printable(hit.path)
            found.append(kept)
        return found

    def _by_id(self, classifier: Classifier, image_id: int) -> list[Prediction]:
        """Classify by the stored vector: no file is opened."""

        def question(library: Library) -> tuple[StoredFrame, Any]:
            return _frame(library, image_id), library.embedding(image_id)

        frame, vector = self._desk.ask(question)
        if vector is None:
            raise InputError("That image has no embedding now; wait until `roco index` has ended.")
        kept = {name: value for name, value in asdict(frame).items() if name in {"modality", "body_part", "view"}}
        return classifier.predict(np.asarray(vector)[None], [Tags(**kept)])

    def _by_path(self, classifier: Classifier, path: str) -> list[Prediction]:
        file = self._desk.ask(lambda library: _inside(library, path))
        pictures = read_pictures([ImageFile(file, named=True)], "middle", ct_windows(classifier.encoder))
        for _, picture in pictures:
            if not isinstance(picture, Picture):
                raise picture
            vectors = classifier.encoder.encode_images([picture.pixels])
            if not np.isfinite(vectors).all():
                raise InputError(f"The image cannot be classified: {NO_EMBEDDING}.")
            return classifier.predict(vectors, [picture.tags])
        raise ImageError("it contains no picture")


HIT_FIELDS = (
    "rank", "score", "match", "doubts", "relevance", "modality", "body_part", "view", "modality_guessed",
    "body_part_guessed", "frame", "frames", "slice", "rows", "columns", "series", "study", "more", "folded",
)  # fmt: skip
"""What an answer says of a hit. `Hit.evidence` is not among it: it may quote a caption."""


def check_text(arguments: Iterable[Any]) -> None:
    """Refuse halves of characters, which JSON can name and UTF-8 cannot: no answer could quote them.

    Raises
    ------
    InputError
    """
    for value in arguments:
        if isinstance(value, str) and not is_whole(value):
            raise InputError("A text contains half of a character (a lone surrogate); send whole ones.")
        if isinstance(value, (list, tuple)):
            check_text(value)


def is_whole(text: str) -> bool:
    """Whether a text can be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _frame(library: Library, image_id: int) -> StoredFrame:
    frame = library.frames.get([image_id]).get(image_id) if 0 <= image_id < 1 << 63 else None
    if frame is None:
        raise InputError(f"The library has no image {image_id}; take the id of a hit.")
    return frame


def _inside(library: Library, path: str) -> str:
    """Return the real path of a file that may be read: the library knows it, or it is inside an indexed folder."""
    if not path or "\0" in path:
        raise InputError(OUTSIDE)
    real = os.path.realpath(os.path.expanduser(path))  # noqa: PTH111
    known = bool(library.frames.of_file(real))
    if not known and not any(is_below(real, root) for root in library.roots()):
        raise InputError(OUTSIDE)
    if not known and not os.path.isfile(real):  # noqa: PTH113
        raise InputError("There is no such file in the indexed folders; check the path.")
    return real
