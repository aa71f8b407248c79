"""Is a mirror good? Its answers and counts are compared with the exact ones, for images and texts, with filters too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from roco_search.library import Library, Selection
from roco_search.library.truth.frames import Attribute
from roco_search.mirror.engine import NARROW, Engine, Vectors, Where

NEIGHBOURS = 10
GOOD = 0.95  # recall@10 below which a mirror is not called good
ENOUGH = 0.99  # recall@10 above which no more effort is tried
SAMPLE = 100  # queries of each kind
FILTERED = 20  # of them, those that are asked under each filter
TIE = 1e-4  # What 16-bit values round in a cosine; a row that near to the tenth counts as found.
ATTRIBUTES: tuple[Attribute, ...] = ("modality", "body_part", "view")

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FilterCheck:
    """What came under a filter: rows that meet it, rows counted there, fewest hits of ten, and recall@10."""

    where: str
    matching: int
    counted: int
    fewest: int
    images: float
    texts: float

    @property
    def good(self) -> bool:
        """Whether ten hits came whenever there are ten, and the right ones."""
        whole = self.counted == self.matching and self.fewest >= min(NEIGHBOURS, self.matching)
        return whole and min(self.images, self.texts) >= GOOD


@dataclass(frozen=True, slots=True)
class Check:
    """recall@10 against the exact answer without a filter, and with each of some; `settings` are the engine's."""

    images: float
    texts: float
    effort: int
    settings: list[str]
    filters: list[FilterCheck] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the mirror answers as it should."""
        return min(self.images, self.texts) >= GOOD and all(found.good for found in self.filters)

    @property
    def lowest(self) -> float:
        """The lowest recall of all."""
        return min(self.images, self.texts, *(min(found.images, found.texts) for found in self.filters))


class _Exact:
    """Queries with their exact answers under one filter."""

    def __init__(self, library: Library, kinds: Sequence[Vectors], where: Where | None, ids: Ids | None) -> None:
        self.where = where
        self.kinds = kinds
        self.matching = len(library.embedded() if ids is None else ids)
        self.known = library.embedded(ids)
        self.least = [library.search(queries, NEIGHBOURS, "exact", ids)[1][:, -1] for queries in kinds]
        self._library = library

    def of(self, engine: Engine, effort: int) -> tuple[list[float], int]:
        """Return the recall for each kind of query, and the fewest hits of any."""
        recalls, fewest, wanted = [], NEIGHBOURS, min(NEIGHBOURS, self.matching)
        for queries, least in zip(self.kinds, self.least, strict=True):
            right = 0
            for query, limit in zip(queries, least, strict=True):
                found = np.array(engine.nearest(query, NEIGHBOURS, self.where, effort), np.int64)
                fewest = min(fewest, len(found))
                ours = np.unique(found[np.isin(found, self.known)])  # a row that is no picture, or no match, is none
                right += int((self._library.scores(query, ours) >= limit - TIE).sum()) if len(ours) else 0
            recalls.append(min(1.0, right / (wanted * len(queries))))
        return recalls, fewest


def check(engine: Engine, library: Library, texts: Vectors, ids: Ids | None = None) -> Check:
    """Compare an engine with the exact answers, with as much effort as it takes to be nearly exact.

    Parameters
    ----------
    engine
        Holds the pictures of `library` that `ids` names, ascending; all of them for None.
    library
        What it is a mirror of.
    texts
        Embeddings of texts by the library's model, float32 ``(n, dim)`` of unit norm.

    Raises
    ------
    MirrorError
    """
    known = library.embedded(ids)
    random = np.random.default_rng(0)
    images = library.embeddings(np.sort(random.permutation(known)[:SAMPLE]))
    kinds = [images, texts[:SAMPLE]]
    few = [queries[:FILTERED] for queries in kinds]
    whole = _Exact(library, kinds, None, ids)
    filtered = [_Exact(library, few, where, chosen) for where, chosen in filters(library, known)]
    counts = [engine.count(exact.where) for exact in filtered]
    best: Check | None = None
    for effort in engine.efforts:
        (of_images, of_texts), _ = whole.of(engine, effort)
        found = []
        for exact, counted in zip(filtered, counts, strict=True):
            recalls, fewest = exact.of(engine, effort)
            found.append(FilterCheck(str(exact.where), exact.matching, counted, fewest, *recalls))
        best = Check(of_images, of_texts, effort, engine.settings(effort), found)
        if best.good and best.lowest >= ENOUGH:
            break
    assert best is not None
    return best


def filters(library: Library, known: Ids) -> list[tuple[Where, Ids]]:
    """Return filters with the ids that meet them: of each attribute, the term nearest to one row in `NARROW`.

    The last is on ids, which every library has: one in `NARROW`, or fewer where that would not leave ten.
    """
    found = []
    for attribute in ATTRIBUTES:
        terms = library.frames.count_terms(attribute)
        if terms:
            term = min(terms, key=lambda name: (abs(terms[name] - len(known) / NARROW), name))
            chosen = library.embedded(library.frames.select(_having(attribute, term)))
            found.append((Where(attribute, term), chosen[np.isin(chosen, known)]))
    every = max(n for n in range(1, NARROW + 1) if NARROW % n == 0 and n <= max(1, len(known) // NEIGHBOURS))
    if every > 1:
        rest = int(known[len(known) // 2]) % every
        found.append((Where("id", rest, every), known[known % every == rest]))
    return [(where, chosen) for where, chosen in found if len(chosen)]


def _having(attribute: Attribute, term: str) -> Selection:
    match attribute:
        case "modality":
            return Selection(modality=(term,))
        case "body_part":
            return Selection(body_part=(term,))
        case "view":
            return Selection(view=(term,))
