"""What a model takes each picture to be: log-probabilities of modality, body part and plane, one byte a class.

They stand in where a header says nothing. The classes are those of ``vocabulary/lexicon/senses.json``. A model that
ships ``relevance.npz`` brings linear heads over its embeddings; any other has the mean of prompts for each class, as in
zero-shot classification (Radford et al. 2021, 3.1.4).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from roco_search import __version__
from roco_search.models.encoder import Encoder
from roco_search.models.onnx_encoder import encode_texts_once
from roco_search.vocabulary import DATA
from roco_search.vocabulary.concepts import Concept, lexicon, split

ATTRIBUTES = ("modality", "body_part", "plane")
NEITHER = {"modality": "none", "body_part": "none", "plane": "none"}
"""The class of what is none of the others: of a picture that is no scan, and of one without a plane."""

FLOOR = 8.0  # Log-probabilities below -8 are all alike.
STEP = FLOOR / 255
HEADS, BANK = "relevance.npz", "elsewhere"
ROWS_AT_ONCE = 8192
NOISE = 0.95  # The share of texts of other worlds that stay below what counts as chance.
PROMPTS = {
    "modality": ("{}", "{} scan", "{} image", "an image of {}"),
    "body_part": ("{}", "{} image", "radiology image of the {}", "{} scan"),
    "plane": ("{} view", "{} CT", "{} MRI", "{} slice"),
}
NOTHING = {
    "modality": ("photograph", "test pattern", "page of text", "blank picture"),
    "body_part": ("photograph", "test pattern", "page of text", "blank picture"),
    "plane": ("radiograph", "ultrasound", "angiogram", "photograph"),
}

Vectors = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


FINDINGS = "finding"
"""The head of findings has a logit for each on its own, at even odds among pictures that can show it."""

DETECTABLE = frozenset({"finding", "view", "sequence", "contrast"})
"""Kinds of concepts that such a head may detect."""


def detectable_key(concept: Concept) -> str:
    """Return the name of a concept among those that the heads of a model detect, such as "finding:pneumonia"."""
    return f"{concept.kind}:{concept.key}"


class Head(NamedTuple):
    """The logits of an attribute's classes are ``vectors @ weights.T + offsets``."""

    weights: Vectors
    offsets: Vectors


@cache
def classes(attribute: str) -> Mapping[str, tuple[str, ...]]:
    """Return the keys of the concepts that each class of an attribute stands for, by class."""
    content = json.loads((DATA / "lexicon" / "senses.json").read_bytes())[attribute]
    return {NEITHER[attribute]: (), **{name: split(keys) for name, keys in content.items()}}


@cache
def column(attribute: str, name: str) -> int:
    """Return the column of a class among those of all attributes."""
    start = 0
    for other in ATTRIBUTES:
        if other == attribute:
            return start + list(classes(attribute)).index(name)
        start += len(classes(other))
    raise KeyError(attribute)


@cache
def columns_of(concept: Concept) -> tuple[int, ...]:
    """Return the columns of the classes that a concept belongs to; none for a kind without classes."""
    if concept.kind not in ATTRIBUTES:
        return ()
    own = [name for name, keys in classes(concept.kind).items() if concept.key in keys]
    parts = [name for name, keys in classes(concept.kind).items() if set(keys) & set(concept.parts)]
    return tuple(column(concept.kind, name) for name in dict.fromkeys(own + parts))


def spoken(name: str, judged: Bytes) -> str:
    """Return the model's word for a picture: the likeliest class of an attribute, or what `picture` asks.

    `judged` are the bytes of one picture, uint8 ``(classes,)``.
    """
    attribute = {"place": "body_part", "picture": "modality"}.get(name, name)
    names = list(classes(attribute))
    start = column(attribute, names[0])
    best = names[int(judged[start : start + len(names)].argmin())]
    if best == NEITHER[attribute]:
        return "no scan" if attribute == "modality" else f"no {attribute.replace('_', ' ')}"
    keys = classes(attribute)[best]
    return lexicon().concept(attribute, keys[0]).name


class Senses:
    """The heads of a model.

    Attributes
    ----------
    key
        Changes whenever any judgement might.
    """

    def __init__(self, encoder: Encoder, heads: Mapping[str, Head] | None = None) -> None:
        self._encoder = encoder
        self._heads = heads
        # The classes decide what a column means; phrasings, where there are no heads, are those of this version.
        said = [__version__, *(tuple(classes(attribute).items()) for attribute in ATTRIBUTES)]
        self.key = sha256(repr([encoder.fingerprint, _identity(encoder), FLOOR, said]).encode()).hexdigest()[:16]

    def judge(self, vectors: Vectors) -> Bytes:
        """Return the negative log-probabilities of vectors, float32 ``(n, dim)``, in `STEP`: uint8 ``(classes, n)``."""
        heads = self._heads or shipped_heads(self._encoder) or prompted_heads(self._encoder)
        own = [heads[attribute] for attribute in ATTRIBUTES]
        findings = heads.get(FINDINGS)
        count = sum(len(head.weights) for head in own) + (0 if findings is None else len(findings.weights))
        found = np.empty((count, len(vectors)), np.uint8)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows = vectors[start : start + ROWS_AT_ONCE]
            parts = []
            for weights, offsets in own:
                logits = rows @ weights.T + offsets
                logits -= logits.max(axis=1, keepdims=True)
                logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
                parts.append(-logits)
            if findings is not None:
                # -log of the logistic function, without overflow.
                parts.append(np.logaddexp(0, -(rows @ findings.weights.T + findings.offsets)))
            found[:, start : start + ROWS_AT_ONCE] = np.rint(np.minimum(np.hstack(parts), FLOOR) / STEP).T
        return found

    def nearest(self, vectors: Vectors) -> Vectors | None:
        """Return the cosine of each text of other worlds to the nearest of some vectors, float32 ``(texts,)``.

        None for a model that does not bring the embeddings of such texts.
        """
        bank = shipped_bank(self._encoder)
        return None if bank is None else nearest(vectors, bank)

    def noise(self, nearest: Vectors) -> float:
        """Return what `chance` makes of that."""
        return chance(nearest)


def nearest(vectors: Vectors, bank: Vectors) -> Vectors:
    """Return the cosine of each text of a bank to the nearest of some vectors, float32 ``(texts,)``."""
    found = np.full(len(bank), -1.0, np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        np.maximum(found, (vectors[start : start + ROWS_AT_ONCE] @ bank.T).max(axis=0), out=found)
    return found


def chance(nearest: Vectors) -> float:
    """Return the cosine that `NOISE` of texts which nothing answers stay below.

    It grows with the number of pictures and with their variety, and so does the best hit of such a text.
    """
    return float(np.quantile(nearest, NOISE))


def found_column(number: int) -> int:
    """Return the column of the finding with this number among those of a model."""
    return sum(len(classes(attribute)) for attribute in ATTRIBUTES) + number


def directory_of(encoder: Encoder) -> Path | None:
    """Return the folder of a model's files; None for a model without any."""
    checkpoint = getattr(encoder, "checkpoint", None)
    return None if checkpoint is None else Path(checkpoint.directory)


def shipped_heads(encoder: Encoder) -> dict[str, Head] | None:
    """Return the heads that a model brings; None if it has none, or they were fitted to other weights or classes."""
    folder = directory_of(encoder)
    if folder is None or not (folder / HEADS).exists():
        return None
    with np.load(folder / HEADS, allow_pickle=False) as stored:
        if str(stored["fingerprint"]) != encoder.fingerprint:
            return None
        heads = {}
        for attribute in ATTRIBUTES:
            if stored[f"{attribute}_classes"].tolist() != list(classes(attribute)):
                return None
            weights, offsets = stored[f"{attribute}_weights"], stored[f"{attribute}_offsets"]
            heads[attribute] = Head(weights.astype(np.float32), offsets.astype(np.float32))
        weights, offsets = stored[f"{FINDINGS}_weights"], stored[f"{FINDINGS}_offsets"]
        heads[FINDINGS] = Head(weights.astype(np.float32), offsets.astype(np.float32))
    return heads


def shipped_bank(encoder: Encoder) -> Vectors | None:
    """Return the embeddings of texts of other worlds that a model brings, float32 ``(texts, dim)``; None if none."""
    folder = directory_of(encoder)
    if folder is None or not (folder / HEADS).exists():
        return None
    with np.load(folder / HEADS, allow_pickle=False) as stored:
        if BANK not in stored or str(stored["fingerprint"]) != encoder.fingerprint:
            return None
        return np.asarray(stored[BANK], np.float32)


def prompted_heads(encoder: Encoder) -> dict[str, Head]:
    """Return zero-shot heads: each class is the mean of the embeddings of its prompts, at the model's logit scale."""
    heads = {}
    for attribute in ATTRIBUTES:
        texts = [
            [prompt.format(lexicon().concept(attribute, key).name) for prompt in PROMPTS[attribute] for key in keys]
            if name != NEITHER[attribute]
            else list(NOTHING[attribute])
            for name, keys in classes(attribute).items()
        ]
        vectors = encode_texts_once(encoder, [text for some in texts for text in some])
        ends = np.cumsum([len(some) for some in texts])
        means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        # A scale above 30 would leave one class a row; what is learned with a sharper one is measured in cosines.
        scale = min(float(encoder.logit_scale), 30.0)
        heads[attribute] = Head((scale * means).astype(np.float32), np.zeros(len(means), np.float32))
    return heads


def _identity(encoder: Encoder) -> tuple[int, int] | None:
    folder = directory_of(encoder)
    if folder is None or not (folder / HEADS).exists():
        return None
    found = (folder / HEADS).stat()
    return found.st_size, found.st_mtime_ns
