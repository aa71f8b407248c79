"""Evidence over one library: the vector and the bias that rank it, how well a hit matches, and why it is one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from roco_search.errors import LibraryEmpty
from roco_search.library import Library
from roco_search.library.vectors.facts import Facts, Header
from roco_search.models.encoder import Encoder, texts_are_done
from roco_search.search.certainty import Certainty
from roco_search.search.evidence import LINEAR, SENSED, Evidence, Extra, gather
from roco_search.search.hits import Hit, Piece
from roco_search.search.senses import Senses, spoken
from roco_search.search.understanding import Understood
from roco_search.search.weights import load

Vector = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

MATCHES = ("strong", "fair", "weak")


def weigh(
    library: Library,
    encoder: Encoder,
    understood: Understood,
    extras: Sequence[Extra] = (),
    known: Mapping[str, Vector] | None = None,
) -> Weighing:
    """Return what speaks for and against the pictures of a library; the caller holds a snapshot of it.

    Parameters
    ----------
    library, encoder
        The library and its own model.
    understood
        What is asked for.
    extras
        More evidence for some pictures, such as that of captions.
    known
        Embeddings of texts that need not be made again, by the text.
    """
    evidence = gather(understood, encoder, load(encoder), extras, known)
    texts_are_done(encoder)  # what is known of the pictures is beside their vectors, which are mapped from here on
    return Weighing(library, evidence, library.facts(Senses(encoder)))


def make_facts(library: Library, encoder: Encoder) -> None:
    """Make now what the first query would have to wait for: what the model takes each picture for, and its noise."""
    with suppress(LibraryEmpty), library.snapshot():
        library.facts(Senses(encoder))


@dataclass(frozen=True)
class Weighing:
    """The evidence of a query over the pictures of one library."""

    library: Library
    evidence: Evidence
    facts: Facts

    @cached_property
    def ranking(self) -> tuple[Vector, Vector]:
        """The query vector, float32 ``(dim,)``, and what is added for each row of the library, float32 ``(n,)``."""
        return self.evidence.vector, self.evidence.bias(self.facts, self.library.embedded())

    def by_extras_alone(self) -> Weighing:
        """Return these with nothing counting but the extras."""
        every = frozenset((*LINEAR, *SENSED, "view", "laterality"))
        return replace(self, evidence=replace(self.evidence, left_out=every))

    @cached_property
    def thresholds(self) -> tuple[float, float, float]:
        """The logits from which a hit matches in this library, for each of `MATCHES`."""
        return self.evidence.weights.thresholds_for(len(self.facts.codes), self.facts.noise)

    @property
    def least_match(self) -> float:
        """The least sum that is a match."""
        return self.thresholds[-1] - self.evidence.offset

    @cached_property
    def certainty(self) -> Certainty:
        """Of which findings that are asked for the library's pictures leave no doubt."""
        return Certainty(self.evidence, self.facts)

    def explained(self, hits: Sequence[Hit], ids: Sequence[int], query: Vector) -> list[Hit]:
        """Return hits, whose `score` is the sum that ranked them, with their cosine, relevance, match and evidence.

        Parameters
        ----------
        hits, ids
            Hits, and the id of the picture of each.
        query
            What the cosine is taken with, float32 ``(dim,)`` of unit norm.
        """
        if not hits:
            return []
        wanted = np.array(ids, np.int64)
        vectors = self.library.embeddings(wanted)
        rows = np.searchsorted(self.library.embedded(), wanted)
        understood = self.evidence.understood.as_json()
        said = {extra.name: extra.explain(ids) for extra in self.evidence.extras}
        cosines = self.library.scores(query, wanted)
        found = []
        for hit, frame_id, row, vector, cosine in zip(hits, ids, rows, vectors, cosines, strict=True):
            logit = hit.score + self.evidence.offset
            doubts = self.certainty.doubts(int(row), frame_id)
            pieces = [*self._pieces(int(row), vector), *self._extras(frame_id, said)]
            found.append(
                replace(
                    hit,
                    score=float(cosine),
                    relevance=1 / (1 + math.exp(-max(-60.0, min(60.0, logit)))),
                    match=match(logit, self.thresholds, doubted=bool(doubts)),
                    doubts=doubts,
                    evidence=tuple(sorted(pieces, key=lambda piece: -abs(piece.adds))),
                    understood=understood,
                    taken_for={name: spoken(name, self.facts.senses[:, row]) for name in ("modality", "body_part")},
                )
            )
        return found

    def _extras(self, frame_id: int, said: Mapping[str, Mapping[int, str]]) -> Iterator[Piece]:
        for extra in self.evidence.extras:
            if (value := extra.of(frame_id)) > 0:
                adds = self.evidence.weight(extra.name) * value
                yield Piece(extra.name, extra.source, said[extra.name].get(frame_id, ""), value, adds)

    def _pieces(self, row: int, vector: Vector) -> Iterator[Piece]:
        evidence, header = self.evidence, self.facts.headers[int(self.facts.codes[row])]
        at = np.array([row])
        for name in SENSED:
            if (values := evidence.sensed(name, self.facts)) is not None:
                value, by_header = float(values(at)[0]), _header_says(name, header)
                if name == "usual" or (name == "picture" and value > math.log(0.5)):
                    continue
                says = by_header or evidence.seen(name) or spoken(name, self.facts.senses[:, row])
                source = "header" if by_header else "model"
                yield Piece(name, source, says, math.exp(value), evidence.weight(name) * value)
        for name, term, adds in evidence.beyond(header):
            yield Piece(name, "header", term, 1.0, adds)
        for name, part in evidence.parts.items():
            value = float(vector @ part)
            yield Piece(name, "model", evidence.named(name), value, evidence.weight(name) * value)


def match(logit: float, thresholds: Sequence[float], *, doubted: bool = False) -> str:
    """Return how well a hit with this logit of relevance fits; one that leaves a doubt is no strong match."""
    for name, least in zip(MATCHES, thresholds, strict=True):
        if logit >= least and not (doubted and name == "strong"):
            return name
    return "none"


def _header_says(name: str, header: Header) -> str | None:
    if name in {"seen", "unseen"}:
        return None
    if name in {"body_part", "place"}:
        return header.body_part
    if name == "plane":
        return header.view if header.view in {"AXIAL", "SAGITTAL", "CORONAL"} else None
    return header.modality
