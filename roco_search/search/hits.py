"""What a search returns: hits, of which each stands for a group of pictures, with near-duplicates folded."""

import math
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from roco_search.library import Library, StoredFrame

if TYPE_CHECKING:
    from roco_search.classify.guesses import Guesses

GroupBy = Literal["series", "study", "file", "none"]

NEAR = 0.999
"""Cosine from which two pictures count as the same one.

Measured with roco-mini: one picture stored with and without lossy compression has 0.9991 or more, neighbouring
slices of a series 0.998 at most. Equal pixels have 1, whatever the files are called.
"""

HEAD = 16  # Coordinates that are compared first.
REACH = math.sqrt(2 - 2 * NEAR) + 1e-4  # The most that two such pictures can be apart, and some rounding.

SLICED = frozenset({"AXIAL", "CORONAL", "SAGITTAL"})
"""Views that are planes of a volume; `imaging.volumes` gives them."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture that was found, and what it stands for.

    Attributes
    ----------
    rank
        From 1, counted over all pages.
    score
        Cosine similarity of the embeddings, -1 to 1. It is no probability, and scores of different queries or
        models do not compare. NaN where nothing was asked.
    path
        The file's real path.
    frame, frames
        Which frame of how many, from 0.
    modality, body_part, view
        As the file's header says, in DICOM's terms; None where it says nothing that can be trusted.
    series
        A keyed hash, equal for the images of one series in one library.
    rows, columns
        The stored matrix in pixels.
    study
        A keyed hash, equal for the images of one study in one library.
    modality_guessed, body_part_guessed
        Whether the value is the model's guess, because the header says nothing. Never without being asked for.
    more
        How many other pictures of its group (series, study, case, file) pass the filters and the least score.
    slice
        Of a volume, which slice of the plane `view`, from 1 at the feet, the back or the left side; None otherwise.
    folded
        How many results would be on this page or before it if they were not near-duplicates of this one.
    relevance
        What ranks the answers to a text: 0 to 1, from all that is known of the picture. None where the cosine ranks.
    match
        How well it fits, "strong", "fair", "weak" or "none", against what nothing answers; None where `relevance` is.
    doubts
        What is asked for and the picture does not show for certain, in words: modality, body part, plane, view and
        findings. With any, it is no strong match.
    evidence
        Why: the pieces, the weightiest first.
    understood
        What the query was read as, by kind; None where nothing was read.
    taken_for
        What the model takes the picture for, "modality" and "body_part" in words; None where the cosine ranks.
    probability
        That of a probe's label, 0 to 1; None where no probe was asked.
    """

    rank: int
    score: float
    path: str
    frame: int
    frames: int
    modality: str | None
    body_part: str | None
    view: str | None
    series: str | None
    rows: int | None
    columns: int | None
    study: str | None = None
    modality_guessed: bool = False
    body_part_guessed: bool = False
    more: int = 0
    folded: int = 0
    slice: int | None = None
    relevance: float | None = None
    match: str | None = None
    evidence: "tuple[Piece, ...]" = ()
    understood: dict[str, object] | None = None
    taken_for: dict[str, str] | None = None
    probability: float | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """One reason for the place of a hit.

    Attributes
    ----------
    about
        What it speaks of: "modality", "body_part", "plane", "view", "laterality", "picture" (whether it is a scan at
        all), "text", "finding", "excluded" or "captions".
    source
        Who says so: "header", "model" or "caption".
    says
        In words: the header's term, the model's word, the finding, a snippet of the caption.
    value
        A probability of the model's sense, a cosine or difference of cosines, or the share that a caption affirms.
    adds
        What it adds to the logit of `Hit.relevance`, weight included.
    """

    about: str
    source: str
    says: str
    value: float
    adds: float


def reasons(hit: Hit) -> list[str]:
    """Return the reasons for a hit in words, such as "CT, HEAD in the header" and "haemorrhage 0.31"."""
    header = ", ".join(dict.fromkeys(piece.says for piece in hit.evidence if piece.source == "header"))
    said = [f"{header} in the header"] if header else []
    for piece in hit.evidence:
        if piece.source == "model" and piece.about in {"text", "finding", "excluded"}:
            said.append(f"{'not ' if piece.about == 'excluded' else ''}{piece.says} {piece.value:.2f}")
        elif piece.about in {"seen", "unseen"}:
            said.append(f"{'no ' if piece.about == 'unseen' else ''}{piece.says}: {piece.value:.0%}")
        elif piece.source == "model":
            asked = f"{piece.value:.0%}"
            said.append(f"looks like {piece.says} ({asked if piece.value >= 0.5 else f'what is asked: {asked}'})")
        elif piece.source == "caption":
            said.append(f"caption: {piece.says}")
    return said


def doubt(hits: Sequence[Hit]) -> str | None:
    """Return one sentence on what is asked for and no hit shows for certain; None if there is nothing to say."""
    fitting = [hit for hit in hits if hit.match in {"strong", "fair"}]
    shared = [name for name in fitting[0].doubts if all(name in hit.doubts for hit in fitting)] if fitting else []
    states = [name for name in shared if name in {"normal", "abnormal"}]
    shown = [_in_a_sentence(name, fitting[0].understood or {}) for name in shared if name not in states]
    said = [f"of {_either(shown)} in any of these"] if shown else []
    said += [f"that any of these is {_either(states)}"] if states else []
    return f"The model is not certain {', nor '.join(said)}." if said else None


def _either(names: Sequence[str]) -> str:
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def _in_a_sentence(name: str, understood: Mapping[str, object]) -> str:
    """Return what is asked for as a sentence has it: "the chest", "the axial plane", "MRI"; unknown words quoted."""
    kinds = [kind for kind, names in understood.items() if isinstance(names, list) and name in names]
    if "body_part" in kinds:
        return f"the {name}"
    if "plane" in kinds:
        return f"the {name} plane"
    words = str(understood.get("rest", "")).split()  # "hyperdense" is no name of anything
    return f'"{name}"' if {"view", "sequence", "contrast"}.intersection(kinds) or name in words else name


@dataclass(slots=True)
class RankedGroup:
    """The best picture of a group, with its score and how many results were folded into it."""

    frame: StoredFrame
    score: float
    folded: int = 0
    slice: int | None = None


def hit_of(group: RankedGroup, rank: int, *, more: int = 0, guessed: Mapping[str, str] | None = None) -> Hit:
    """Return a group as a hit; `guessed` is what the model says, by attribute, where the header says nothing."""
    guessed = guessed or {}
    frame = group.frame
    return Hit(
        rank=rank,
        score=group.score,
        path=frame.path,
        frame=frame.frame,
        frames=frame.frames,
        modality=frame.modality or guessed.get("modality"),
        body_part=frame.body_part or guessed.get("body_part"),
        view=frame.view,
        series=frame.series,
        rows=frame.rows,
        columns=frame.columns,
        study=frame.study,
        modality_guessed="modality" in guessed,
        body_part_guessed="body_part" in guessed,
        more=more,
        folded=group.folded,
        # A slice of a DICOM series has a number, too, but not one that counts from a side of the patient.
        slice=frame.instance_number if frame.view in SLICED and frame.series is None else None,
    )


def guessed_terms(library: Library, groups: Sequence[RankedGroup], guesses: "Guesses | None") -> list[dict[str, str]]:
    """Return the guesses for each group's best picture, by attribute, where its header says nothing."""
    if guesses is None or not groups:
        return [{} for _ in groups]
    vectors = library.embeddings(np.array([group.frame.id for group in groups], np.int64))
    modalities, body_parts = guesses.guess("modality", vectors), guesses.guess("body_part", vectors)
    return [
        ({} if frame.modality else {"modality": modality}) | ({} if frame.body_part else {"body_part": part})
        for frame, modality, part in zip((group.frame for group in groups), modalities, body_parts, strict=True)
    ]


class RankedGroups:
    """The groups of a result, filled from the best picture downwards until there are enough.

    A group ranks where its best picture ranks. If that is a near-duplicate of the best picture of a group above, the
    whole group is folded into the uppermost such group.
    """

    def __init__(self, by: GroupBy, wanted: int, dim: int, *, fold: bool, biased: bool = False) -> None:
        self._biased = biased
        self.groups: list[RankedGroup] = []
        self._by, self._wanted, self._fold = by, wanted, fold
        self._seen: set[Hashable] = set()
        self._vectors = np.empty((64, dim), np.float32)
        self._heads = np.empty((64, min(dim, HEAD)), np.float32)
        self._lengths = np.empty(64, np.float32)

    @property
    def full(self) -> bool:
        """Whether there are as many groups as wanted."""
        return len(self.groups) >= self._wanted

    def add(self, frame: StoredFrame, score: float, vector: npt.NDArray[np.float32]) -> None:
        """Take the next best picture, with its vector, float32 ``(dim,)`` of unit norm."""
        key = group_key(frame, self._by)
        if key in self._seen:
            return
        self._seen.add(key)
        if self._fold:
            if (twin := self._twin(score, vector)) is not None:
                self.groups[twin].folded += 1
                return
            self._remember(vector)
        self.groups.append(RankedGroup(frame, score))

    def _twin(self, score: float, vector: npt.NDArray[np.float32]) -> int | None:
        """Return the uppermost group whose picture is nearly this one.

        Unit vectors a and b of cosine `NEAR` are at most `REACH` apart. So are their scores, |q·a - q·b| <= |a - b|,
        which leaves the groups just above, and so are their first coordinates, which leaves few of these to compare
        whole: without the two, listing a large library would take hours.
        """
        last = len(self.groups)
        # A bias sets twins apart: one of them has a header.
        first = 0 if self._biased else bisect_left(self.groups, -(score + REACH), key=lambda group: -group.score)
        start = vector[:HEAD]
        heads, lengths = self._heads[first:last], self._lengths[first:last]
        close = first + np.flatnonzero(lengths + start @ start - 2 * (heads @ start) <= REACH**2)
        near = close[self._vectors[close] @ vector >= NEAR]
        return int(near[0]) if len(near) else None

    def _remember(self, vector: npt.NDArray[np.float32]) -> None:
        row = len(self.groups)
        if row == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
            self._heads = np.concatenate([self._heads, np.empty_like(self._heads)])
            self._lengths = np.concatenate([self._lengths, np.empty_like(self._lengths)])
        self._vectors[row] = vector
        self._heads[row] = vector[:HEAD]
        self._lengths[row] = vector[:HEAD] @ vector[:HEAD]


def group_key(frame: StoredFrame, by: GroupBy) -> Hashable:
    """Return what is equal for the frames of one group.

    A frame of no series (or study), as a PNG is, belongs to its case; without a case, to its file.
    """
    if by == "none":
        return frame.id
    if by != "file":
        if (named := frame.series if by == "series" else frame.study) is not None:
            return by, named
        if frame.case is not None:
            return "case", frame.case
    return "file", frame.path
