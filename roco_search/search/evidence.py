"""Why a picture is a hit: everything that is known of it, put together for one query.

Each piece is a term of a sum, the logit of `relevance`. Terms of the model are inner products with the embedding, and
are folded into one query vector; terms of headers, of the model's sense of the picture and of captions are numbers per
row. The search therefore stays one exact pass: inner product plus a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from roco_search.library.vectors.facts import Facts, Header
from roco_search.models.encoder import Encoder
from roco_search.search.phrasing import Phrasings, phrasings
from roco_search.search.senses import FLOOR, STEP, column, columns_of, found_column
from roco_search.search.understanding import Understood
from roco_search.search.weights import Weights
from roco_search.vocabulary.concepts import Concept, lexicon

Vector = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

LINEAR = ("text", "finding", "excluded")
SENSED = ("modality", "body_part", "place", "plane", "picture", "seen", "unseen", "usual")
UNUSUAL = 2.0  # A finding that was learned on radiographs may be visible elsewhere, too.
AGREES, APART = 0.0, -FLOOR
UNSAID = np.nan
NOBODY = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Extra:
    """What else speaks for some pictures, such as their captions.

    Attributes
    ----------
    name
        The piece of evidence, whose weight is that of `Weights` of the same name.
    ids, values
        Frames, int64 ascending, and how much each affirms of the query, float32, 0 to 1.
    source
        Who says so, for `Piece`.
    explain
        Returns in words what each of some frames affirms.
    affirming
        The frames, int64 ascending, of which each thing that is asked for is affirmed: by the keys of concepts, and by
        words that name none.
    """

    name: str
    ids: Ids
    values: Vector
    source: str
    explain: Callable[[Sequence[int]], Mapping[int, str]]
    affirming: Mapping[str, Ids] = field(default_factory=dict)

    def says(self, name: str, frame_id: int) -> bool:
        """Return whether one thing that is asked for is affirmed of a frame."""
        ids = self.affirming.get(name, NOBODY)
        place = int(np.searchsorted(ids, frame_id))
        return place < len(ids) and int(ids[place]) == frame_id

    def of(self, frame_id: int) -> float:
        """Return how much a frame affirms."""
        place = int(np.searchsorted(self.ids, frame_id))
        return float(self.values[place]) if place < len(self.ids) and self.ids[place] == frame_id else 0.0


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against the pictures of a library as answers to one query.

    Attributes
    ----------
    understood
        What was asked for.
    weights
        How much each piece counts.
    parts
        Directions in the space of embeddings, float32 ``(dim,)``, by the name of the piece.
    extras
        Evidence for some pictures, such as `captions`.
    """

    understood: Understood
    weights: Weights
    parts: Mapping[str, Vector]
    extras: Sequence[Extra] = ()
    left_out: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def vector(self) -> Vector:
        """The query vector: all directions by their weights, float32 ``(dim,)``; not of unit norm."""
        pieces = [self.weight(name) * part for name, part in self.parts.items()]
        return np.asarray(np.sum(pieces, axis=0), np.float32)

    @cached_property
    def offset(self) -> float:
        """What is added to the sum so that the logit of one half means even odds."""
        strange = self.weights.offsets.get("elsewhere", 0.0) * self.understood.elsewhere
        return self.weights.offset_of(self.asked) + strange

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """Names of the pieces of which the query says something."""
        names = [name for name in SENSED if self._columns(name)]
        return (*names, *(name for name in ("finding", "excluded") if name in self.parts))

    def bias(self, facts: Facts, ids: Ids) -> Vector:
        """Return what is added for each row of a library, float32 as long as `ids`."""
        total = np.zeros(len(ids), np.float32)
        for name in SENSED:
            if self.weight(name) and (values := self.sensed(name, facts)) is not None:
                total += np.float32(self.weight(name)) * values(slice(None))
        headers = np.array([sum(adds for *_, adds in self.beyond(one)) for one in facts.headers], np.float32)
        if headers.any():
            total += headers[facts.codes]
        for extra in self.extras:
            rows = np.searchsorted(ids, extra.ids)
            known = (rows < len(ids)) & (ids[np.minimum(rows, len(ids) - 1)] == extra.ids)
            total[rows[known]] += np.float32(self.weight(extra.name)) * extra.values[known]
        return total

    def sensed(self, name: str, facts: Facts) -> Callable[[slice | Ids], Vector] | None:
        """Return what gives the log-probability of the asked classes for rows, -`FLOOR` to 0; None if none is asked.

        A header decides where it speaks; elsewhere, what the model takes the picture for does.
        """
        columns = self._columns(name)
        if not columns:
            return None
        said = np.array([self._said(name, header) for header in facts.headers], np.float32)

        def values(rows: slice | Ids) -> Vector:
            # A function of a byte is a table of 256 numbers; only the sum of several classes needs a logarithm a row.
            table = _DENIED if name in {"picture", "unseen"} else _LOGS
            if name in {"picture", "unseen", "seen"} or len(columns) == 1:
                found = sum(table[facts.senses[number, rows]] for number in columns)  # all of them
            else:
                chance = sum(_PROBABILITY[facts.senses[number, rows]] for number in columns)  # any of them
                found = np.log(np.minimum(chance, 1.0))
            found = np.maximum(np.asarray(found, np.float32), -UNUSUAL if name == "usual" else -FLOOR)
            if np.isnan(said).all():
                return np.asarray(found)
            by_header = said[facts.codes[rows]]
            return np.where(np.isnan(by_header), found, by_header).astype(np.float32)

        return values

    def _columns(self, name: str) -> tuple[int, ...]:
        if name == "picture":
            return (column("modality", "none"),)
        if name == "place":
            if self.understood.of("body_part"):
                return ()
            return _united(self._places)
        if name in {"seen", "unseen"}:
            keys = list(self.weights.detectable)
            return tuple(found_column(keys.index(key)) for key in self._detected(name))
        if name == "usual":
            if self.understood.of("modality"):
                return ()
            found = self.understood.of("finding")
            kinds = dict.fromkeys(kind for finding in found for kind in finding.shown_on)
            if not kinds:
                kinds = dict.fromkeys(
                    k for key in self._detected("seen") for k in self.weights.detectable[key]["modality"]
                )
            if not kinds:
                kinds = dict.fromkeys(implied.key for implied in self.understood.suggested("modality"))
            columns = (columns_of(lexicon().concept("modality", kind)) for kind in kinds)
            return tuple(dict.fromkeys(place for places in columns for place in places))
        return _united(self.understood.of(name))

    def _detected(self, name: str) -> list[str]:
        """Return which findings that the heads detect are asked for ("seen") or ruled out ("unseen")."""
        found = []
        for concept in self.understood.wanted if name == "seen" else self.understood.excluded:
            kinds = (concept.key, *concept.within) if concept.kind == "finding" else (concept.key,)
            found += [key for key in (f"{concept.kind}:{kind}" for kind in kinds) if key in self.weights.detectable][:1]
        return list(dict.fromkeys(found))

    @cached_property
    def _places(self) -> tuple[Concept, ...]:
        """Where the findings that are asked for are seen, and what other words are said of."""
        places = dict.fromkeys(found.place for found in self.understood.of("finding") if found.place)
        found = (lexicon().concept("body_part", place) for place in places)
        return tuple(dict.fromkeys((*found, *self.understood.suggested("body_part"))))

    def stated(self, attribute: str, header: Header) -> float | None:
        """Return what a header says of what is asked for of an attribute, as `sensed` has it; None if it is silent."""
        said = self._said(attribute, header)
        return None if np.isnan(said) else said

    def _said(self, name: str, header: Header) -> float:
        """Return what a header says of one of `SENSED`, as a log-probability; not a number where it is silent."""
        if name in {"seen", "unseen", "usual"}:
            return UNSAID
        if name == "picture":
            return APART if header.modality in NO_PICTURES else AGREES if header.modality else UNSAID
        if name == "plane":
            plane = header.view if header.view in {"AXIAL", "SAGITTAL", "CORONAL"} else None
            return UNSAID if plane is None else _agreement((plane,), self.understood.of("plane"))
        if name == "modality":
            if header.modality is None or header.modality == "SC":
                return UNSAID
            return _agreement((header.modality,), self.understood.of("modality"))
        if header.body_part is None:
            return UNSAID
        wanted = self._places if name == "place" else self.understood.of("body_part")
        return _place_agreement(header.body_part, wanted)

    def beyond(self, header: Header) -> Iterator[tuple[str, str, float]]:
        """Yield what else a header says, view and side: (kind, term, what it adds)."""
        for kind, said in (("view", header.view), ("laterality", header.laterality)):
            terms = {term for concept in self.understood.of(kind) for term in concept.terms}
            if said and terms and not (kind == "laterality" and said in {"B", "U"}):
                yield kind, said, self.weight(kind) * (1.0 if said in terms else -1.0)

    def seen(self, name: str) -> str | None:
        """Return the findings that "seen" or "unseen" looks for, in words; None for any other name."""
        if name not in {"seen", "unseen"}:
            return None
        return ", ".join(key.split(":", 1)[1] for key in self._detected(name))

    def named(self, part: str) -> str:
        """Return what one of `parts` looks for, in words."""
        concepts = {"finding": self.understood.of("finding"), "excluded": self.understood.excluded}.get(part)
        return (
            self.understood.english or self.understood.text if concepts is None else ", ".join(c.name for c in concepts)
        )

    def weight(self, name: str) -> float:
        """Return how much a piece counts here."""
        return 0.0 if name in self.left_out else self.weights.of(name)


NO_PICTURES = frozenset({"OT", "SR", "DOC", "AU", "ECG", "PR", "KO"})
"""Modalities of what is no scan: "other", documents, sound and curves."""
_SURE = 1 - np.exp(-FLOOR)
_LOGS = (-STEP * np.arange(256)).astype(np.float32)
_PROBABILITY = np.exp(_LOGS)
_DENIED = np.log1p(-np.minimum(_PROBABILITY, np.float32(_SURE)))


def gather(
    understood: Understood,
    encoder: Encoder,
    weights: Weights,
    extras: Sequence[Extra] = (),
    known: Mapping[str, Vector] | None = None,
) -> Evidence:
    """Embed what a query asks for, but for the texts that are known; return what is to be weighed."""
    texts: Phrasings = phrasings(understood)
    # What counts for nothing is not embedded: a text is a millisecond or more of every query.
    if not weights.of("finding"):
        texts = texts._replace(present=(), absent=())
    if not weights.of("excluded"):
        texts = texts._replace(excluded=(), excluded_absent=())
    flat = list(dict.fromkeys(text for group in (*texts.sides, texts.text, (understood.text,)) for text in group))
    # One at a time: a single short text needs no tokenizer to be loaded.
    vectors = dict(known or {})
    vectors |= {t: np.asarray(encoder.encode_texts([t]), np.float32)[0] for t in flat if t not in vectors}

    def mean(group: Sequence[str]) -> Vector:
        return np.asarray(np.mean([vectors[text] for text in group], axis=0), np.float32)

    # The words as typed are half of it: what they are read as may be wrong, or new to a model.
    parts = {"text": _unit(_unit(mean(texts.text)) + vectors[understood.text])}
    if texts.present:
        parts["finding"] = mean(texts.present) - mean(texts.absent)
    if texts.excluded:
        parts["excluded"] = mean(texts.excluded) - mean(texts.excluded_absent)
    return Evidence(understood, weights, parts, extras)


def _unit(vector: Vector) -> Vector:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-6))


def _united(concepts: Iterable[Concept]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(place for concept in concepts for place in columns_of(concept)))


def _agreement(said: Sequence[str], wanted: Sequence[Concept]) -> float:
    terms = {term for concept in wanted for term in concept.terms}
    return AGREES if terms.intersection(said) else APART


def _place_agreement(said: str, wanted: Sequence[Concept]) -> float:
    """Compare a Body Part Examined with places: the same, a part or the whole of it agrees; a neighbour half does."""
    if any(said in concept.terms for concept in wanted):
        return AGREES
    named = [
        concept for concept in lexicon().concepts.values() if concept.kind == "body_part" and said in concept.terms
    ]
    keys = {concept.key for concept in wanted}
    if any(keys & {*concept.within, *concept.parts} for concept in named):
        return AGREES - 0.5
    shared = {place for concept in named for place in columns_of(concept)} & set(_united(wanted))
    return APART / 4 if shared else APART
