"""What the library hands to its callers: rows, and reports of what was done. Plain data, no behaviour."""

from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """Someone who wants to know how far a long run is."""

    def start(self, total_files: int) -> None:
        """Begin; so many files have to be read."""

    def advance(self, files: int, frames: int) -> None:
        """So many more files and frames are done and stored."""

    def stop(self) -> None:
        """End, finished or not."""


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """The vectors of one model. (`last_id`, `count`) tell its state exactly: vectors are only added and removed."""

    id: int
    model: str
    fingerprint: str
    dim: int
    image_size: int
    logit_scale: float
    state: str
    count: int
    last_id: int


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One picture as the library knows it; `frame` counts from 0, `series` and `study` are keyed hashes."""

    id: int
    path: str
    frame: int
    frames: int
    modality: str | None
    body_part: str | None
    view: str | None
    laterality: str | None
    rows: int | None
    columns: int | None
    series: str | None
    study: str | None
    series_number: int | None
    instance_number: int | None
    localizer: bool | None


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """A file, or a folder, that could not be used, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class IndexReport:
    """What one run of `Library.index` did.

    All counts are of files, apart from `frames`: pictures embedded or taken over from an equal file in this run.
    `skipped` and `not_images` list every such file under the given roots, also those remembered from earlier runs.
    `images_per_second` is `frames` by `seconds`. `warnings` are sentences for the person.
    """

    library: str
    model: str
    indexed: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    frames: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    not_images: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0
    images_per_second: float = 0.0
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ReembedReport:
    """What one run of `Library.reembed` did.

    `complete` tells whether the library now answers with the new model. It does not while `unavailable` names
    files that could not be read now and whose old vectors are therefore still needed.
    """

    library: str
    model: str
    files: int = 0
    frames: int = 0
    removed: int = 0
    unavailable: list[Skipped] = field(default_factory=list)
    complete: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RootStatus:
    """A folder or file that was indexed: is it there now, and how many images come from it."""

    path: str
    frames: str
    present: bool
    files: int


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """What a library holds. Sizes are in bytes.

    `matrix` and `graph` are "current", "stale" or "absent", the graph also "behind": what was added since is not in it.
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
    skipped: list[Skipped]
    not_images: list[Skipped]
    database_bytes: int
    cache_bytes: int
    matrix: str
    graph: str


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
