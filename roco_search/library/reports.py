"""What a library reports of itself and of a long run: plain data, and the protocol by which a run reports progress."""

from dataclasses import dataclass, field

from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.files import Skipped


@dataclass(slots=True)
class ReembedReport:
    """What one run of `Library.reembed` did.

    `complete` is True if the library now answers with the new model. It is False while `unavailable` names files that
    could not be read now: their old vectors are still needed.
    """

    library: str
    model: str
    files: int = 0
    frames: int = 0
    removed: int = 0
    unavailable: list[Skipped] = field(default_factory=list)
    complete: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class IndexReport:
    """What one run of `Library.index` did.

    All counts are of files, apart from `frames`: pictures embedded or taken over from an equal file in this run.
    `skipped` and `not_images` list every such file under the given roots, also those remembered from earlier runs.
    `captions` counts the texts (captions and reports) that are new or have changed.
    `images_per_second` is `frames` by `seconds`. `warnings` are sentences for the person. `reembedding` is what a
    re-embedding did before; if that is not complete, nothing else was done.
    """

    library: str
    model: str
    indexed: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    frames: int = 0
    captions: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    not_images: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0
    images_per_second: float = 0.0
    warnings: list[str] = field(default_factory=list)
    reembedding: ReembedReport | None = None


@dataclass(frozen=True, slots=True)
class RootStatus:
    """A folder or file that was indexed: whether it exists now, and how many images come from it."""

    path: str
    frames: str
    present: bool
    files: int


@dataclass(frozen=True, slots=True)
class SharedStatus:
    """Of which shared library this is a copy.

    `version` is the newest commit that is in the copy, None if it is not known; `pulled` is when the copy was last
    known to be equal, ISO 8601 in UTC; with `pending` changes, something of the copy has not been sent.
    """

    address: str
    version: int | None
    pulled: str | None
    pending: bool


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """What a library holds. Sizes are in bytes. `captions` counts texts, reports included.

    `matrix` and `graph` are "current", "stale" or "absent"; the graph can also be "behind", lacking what came since.
    `shared` is None for a library that is no copy of a shared one.
    """

    library: str
    created: str
    model: EmbeddingSet | None
    pending: EmbeddingSet | None
    roots: list[RootStatus]
    files: int
    frames: int
    modalities: dict[str, int]
    body_parts: dict[str, int]
    captions: int
    skipped: list[Skipped]
    not_images: list[Skipped]
    database_bytes: int
    cache_bytes: int
    matrix: str
    graph: str
    shared: SharedStatus | None = None


@dataclass(frozen=True, slots=True)
class LibraryHealth:
    """The result of `Library.verify`.

    `problems` are sentences, each with its remedy; none means healthy. `matrix` and `graph` are as in `LibraryStatus`,
    or "damaged"; a damaged one has been removed and is built again when it is next needed.
    """

    library: str
    problems: list[str]
    files: int
    frames: int
    vectors: int
    matrix: str
    graph: str
