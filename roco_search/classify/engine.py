"""Images and labels become probabilities, in one of two modes that are never mixed.

**exclusive**: the labels exclude each other. One softmax over ``logit_scale × score`` of all labels.

**multi-label**: each label is judged on its own. A softmax over two: ``logit_scale ×`` the score of its own prompts
against that of its opposite's (CheXzero, Tiu et al. 2022). A label and its opposite given together add up to one.

The temperature is the model's own, learned in its training, in both. A sigmoid model (SigLIP, Zhai et al. 2023)
gives each text a match probability with odds ``exp(logit_scale × score + logit_bias)``. That exactly one of several
texts matches then has probability ``odds / Σ odds``, which is the same softmax: the bias cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.classify.guesses import Guessable, Guesses
from roco_search.classify.labels import Label, Mode, check_labels
from roco_search.classify.prompt_choice import OWN, Prompts, check_templates, depends_on_image, fitting, prompts_of_each
from roco_search.errors import InputError
from roco_search.imaging import Tags
from roco_search.models.encoder import Encoder
from roco_search.models.legibility import cannot_read, illegible
from roco_search.vocabulary import GENERAL, prompt_sets

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """What one prompt contributed.

    Attributes
    ----------
    text
        The prompt.
    side
        Whether it describes the label ("positive") or its opposite ("negative").
    share
        Its part of the cosine similarity of its side. The shares of a label's positive prompts add up to its score.
    """

    text: str
    side: str
    share: float


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label of one image.

    Attributes
    ----------
    label
        Its name.
    probability
        0 to 1, from the model's own softmax. It is the model's, not a clinical probability.
    score
        Cosine similarity of the image and the mean of the label's prompts, -1 to 1.
    shares
        What each prompt contributed, if that was asked for.
    """

    label: str
    probability: float
    score: float
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The labels of one image, the most probable first (equal ones in the order in which they were given).

    ``prompt_set`` names the prompts that were used; ``guessed`` is whether the model itself chose them, because the
    image's header did not say what it is.
    """

    mode: Mode
    labels: tuple[LabelScore, ...]
    prompt_set: str
    guessed: bool
    path: str | None = None
    frame: int = 0


@dataclass(frozen=True, slots=True)
class _Side:
    """The prompts of one side: their mean direction (unit norm), and each one's weight in it."""

    texts: tuple[str, ...]
    vectors: Vector  # (prompts, dim); their sum is the direction
    direction: Vector  # (dim,)


class Classifier:
    """Labels made ready for a model; texts are embedded at the first image that needs them.

    Parameters
    ----------
    encoder
        The model.
    labels
        What an image may be called.
    mode
        "exclusive" or "multi-label".
    templates
        Instead of the prompt sets, such as ``["a chest x-ray of {}"]``. A label's own prompts take precedence.

    Raises
    ------
    InputError
        If labels or templates cannot be used.
    """

    def __init__(
        self, encoder: Encoder, labels: Sequence[Label], mode: Mode = "exclusive", templates: Sequence[str] = ()
    ) -> None:
        check_labels(labels, mode)
        check_templates(templates)
        for label in labels:
            if unread := illegible(encoder, label.positive or (label.name,)):
                raise InputError(f"{cannot_read(encoder, unread)} A file of labels can also give a label its prompts.")
        self.encoder, self.labels, self.mode, self.templates = encoder, tuple(labels), mode, tuple(templates)
        self.by_image = depends_on_image(labels, templates, both_sides=mode == "multi-label")
        self._sides: dict[str, list[tuple[_Side, _Side]]] = {}
        self._guesses = Guesses(encoder)

    def prompts(self, prompt_set: str) -> list[Prompts]:
        """Return the prompts of each label under a prompt set."""
        chosen = prompt_sets()[GENERAL if prompt_set == OWN else prompt_set]
        return prompts_of_each(self.labels, chosen, self.templates, both_sides=self.mode == "multi-label")

    def choose(self, vector: Vector, tags: Tags | None) -> tuple[str, bool]:
        """Return the name of the prompt set for an image, and whether the model had to guess what the image is."""
        if not self.by_image:
            return OWN, False
        modality = None if tags is None or tags.modality == "OT" else tags.modality  # "other" says nothing
        body_part = None if tags is None else tags.body_part
        guessed = modality is None
        modality = modality or self._guess("modality", vector)
        possible = fitting(modality, body_part)
        if len(possible) > 1:
            guessed, possible = True, fitting(modality, self._guess("body_part", vector))
        return possible[0].name, guessed

    def predict(
        self,
        vectors: npt.NDArray[np.float32],
        tags: Sequence[Tags | None] | None = None,
        *,
        places: Sequence[tuple[str | None, int]] | None = None,
        shares: bool = False,
    ) -> list[Prediction]:
        """Classify embedded images.

        Parameters
        ----------
        vectors
            Embeddings of the same model, float32 ``(n, dim)`` of unit norm.
        tags
            What the header of each says.
        places
            Path and frame of each.
        shares
            Whether to report what each prompt contributed.
        """
        count = len(vectors)
        tags = tags if tags is not None else [None] * count
        places = places if places is not None else [(None, 0)] * count
        predictions = []
        for row, said, (path, frame) in zip(np.asarray(vectors, np.float64), tags, places, strict=True):
            name, guessed = self.choose(row, said)
            scores, probabilities = self._probabilities(row, name)
            explained = [self._shares(row, name, index) for index in range(len(self.labels))] if shares else ()
            found = ranked(self.labels, probabilities.tolist(), scores.tolist(), explained)
            predictions.append(Prediction(self.mode, found, name, guessed, path, frame))
        return predictions

    def contrast(self, label: str, prompt_set: str) -> Vector:
        """Return the direction float64 ``(dim,)`` along which an image gains on the label's alternatives.

        Those are its opposite in multi-label mode, and the mean of the other labels in exclusive mode.
        """
        sides = self._sides_of(prompt_set)
        index = [entry.name for entry in self.labels].index(label)
        positive, negative = sides[index]
        if self.mode == "multi-label":
            return positive.direction - negative.direction
        others = [side.direction for place, (side, _) in enumerate(sides) if place != index]
        return np.asarray(positive.direction - np.mean(others, axis=0))

    def _probabilities(self, row: Vector, prompt_set: str) -> tuple[Vector, Vector]:
        sides = self._sides_of(prompt_set)
        scores = np.array([row @ positive.direction for positive, _ in sides])
        if self.mode == "exclusive":
            return scores, softmax(self.encoder.logit_scale * scores)
        against = np.array([row @ negative.direction for _, negative in sides])
        pairs = self.encoder.logit_scale * np.stack([scores, against], axis=1)
        return scores, softmax(pairs)[:, 0]

    def _shares(self, row: Vector, prompt_set: str, index: int) -> tuple[Share, ...]:
        positive, negative = self._sides_of(prompt_set)[index]
        used = [("positive", positive)] + ([("negative", negative)] if self.mode == "multi-label" else [])
        return tuple(
            Share(text, name, float(row @ vector))
            for name, side in used
            for text, vector in zip(side.texts, side.vectors, strict=True)
        )

    def _sides_of(self, prompt_set: str) -> list[tuple[_Side, _Side]]:
        if prompt_set not in self._sides:
            self._sides[prompt_set] = [
                (self._side(entry.positive), self._side(entry.negative)) for entry in self.prompts(prompt_set)
            ]
        return self._sides[prompt_set]

    def _side(self, texts: tuple[str, ...]) -> _Side:
        vectors = np.asarray(self.encoder.encode_texts(list(texts)), np.float64)
        total = vectors.sum(axis=0)
        norm = float(np.linalg.norm(total))
        if not np.isfinite(norm) or norm < 1e-6:
            raise InputError(f"The model could not embed the prompt {texts[0]!r}; rephrase it.")
        return _Side(texts, vectors / norm, total / norm)

    def _guess(self, attribute: Guessable, vector: Vector) -> str:
        return self._guesses.guess(attribute, np.asarray(vector, np.float32)[None])[0]


def ranked(
    labels: Sequence[Label],
    probabilities: Sequence[float],
    scores: Sequence[float],
    shares: Sequence[tuple[Share, ...]] = (),
) -> tuple[LabelScore, ...]:
    """Return the labels of one image, the most probable first."""
    entries = zip(labels, probabilities, scores, shares or [()] * len(labels), strict=True)
    found = [LabelScore(label.name, probability, score, why) for label, probability, score, why in entries]
    return tuple(sorted(found, key=lambda entry: -entry.probability))


def softmax(logits: Vector) -> Vector:
    """Return the softmax over the last axis, without overflow."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def named(labels: Iterable[str | Label]) -> list[Label]:
    """Return labels, where a text is the name of one."""
    return [label if isinstance(label, Label) else Label(label) for label in labels]
