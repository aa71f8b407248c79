"""`roco library merge`: bring a library up to date with what was embedded elsewhere.

A source is a folder of parts or another library. It is walked, planned and stored by the run that indexes folders.
"""

import os
from collections.abc import Container, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roco_search.errors import InputError
from roco_search.imaging import Tags
from roco_search.imaging.walk import FoundFile, Walk, is_below
from roco_search.library.directory import DATABASE, real_path
from roco_search.library.faults import no_image_yet
from roco_search.library.ingest.manifest import Manifest, common_key, manifests, part_names
from roco_search.library.ingest.parts import PartReader, Place, absolute
from roco_search.library.ingest.pipeline import FinishedFile, FrameRecord
from roco_search.library.ingest.plan import Candidate
from roco_search.library.ingest.reading import Outcome, settle
from roco_search.library.ingest.run import IndexRun
from roco_search.library.reports import IndexReport
from roco_search.library.shared import pull
from roco_search.library.truth.embeddings import recorded
from roco_search.library.truth.files import KnownFile
from roco_search.library.truth.store import Store
from roco_search.models.encoder import EncoderIdentity, image_arithmetic
from roco_search.system.progress import Progress

if TYPE_CHECKING:
    from roco_search.library import Library

AT_ONCE = 256  # files in one transaction
_TAGS = tuple(tag.name for tag in fields(Tags))
Reusable = Container[tuple[bytes, str | None]]


class Embedded:
    """What two kinds of sources have in common: files with an outcome that is known, whose vectors are there."""

    encoder: EncoderIdentity
    has_texts = False
    whole = True
    salt: str
    keyed = False  # whether the library has the same key for its hashes
    choices: Mapping[str, str]

    def exists(self, root: str) -> bool:
        """See `Source.exists`."""
        return root in self.choices

    def read(self, work: Sequence[Candidate], reusable: Reusable) -> Generator[list[FinishedFile], None, None]:
        """See `Source.read`."""
        for start in range(0, len(work), AT_ONCE):
            yield [self._finished(candidate, reusable) for candidate in work[start : start + AT_ONCE]]

    def _finished(self, candidate: Candidate, reusable: Reusable) -> FinishedFile:
        outcome = self.outcome(candidate.path)
        digest = outcome.content_hash
        if digest is not None and (settled := settle(candidate, digest, reusable)) is not None:
            return FinishedFile(candidate, Outcome(settled, outcome.size, outcome.mtime_ns, digest))
        finished = FinishedFile(candidate, outcome)
        if outcome.kind == "image":
            finished.frames, finished.vectors = self.content(candidate.path)
        return finished

    def outcome(self, path: str) -> Outcome:
        """Return how reading a file ended."""
        raise NotImplementedError

    def content(self, path: str) -> tuple[list[FrameRecord], list[np.ndarray]]:
        """Return the frames of a file and their vectors."""
        raise NotImplementedError


class Parts(Embedded):
    """The shards of a folder of parts.

    Parameters
    ----------
    folder
        The folder.
    images
        Where the folders of images are here, in the order in which they were given; None for where they were.
    partial
        Take shards that are not complete too.

    Raises
    ------
    InputError
        If a shard is missing or unfinished, a part is damaged or of something else, or the shards do not belong
        together.
    """

    def __init__(self, folder: Path, images: Sequence[str] | None, partial: bool) -> None:
        found = manifests(folder)
        self._check_alike(folder, found)
        first = found[0]
        missing = sorted({*range(first.shard.of)} - {other.shard.number for other in found if other.complete})
        if missing and not partial:
            named = ", ".join(f"{number}/{first.shard.of}" for number in missing[:5])
            named += f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise InputError(
                f"Of the shards in {folder}, these are missing or unfinished: {named}; run them with the same "
                "`roco index` command, or set `partial=True` to take what is there and drop nothing."
            )
        self.encoder = first.encoder
        self.whole = not missing
        self.salt = common_key(folder, make=False)
        if sha256(self.salt.encode()).hexdigest() != first.key:
            raise InputError(
                f"The shards in {folder} were made with another key; copy that folder with all that is in it."
            )
        roots = self._roots(folder, found, images)
        self.choices = dict.fromkeys(roots, first.frames)
        self._walk = Walk()
        self._places: dict[str, tuple[PartReader, Place]] = {}
        for other in found:
            self._add(folder, other, roots)

    @staticmethod
    def _check_alike(folder: Path, found: Sequence[Manifest]) -> None:
        first = found[0]
        for other in found:
            one, two = first.encoder, other.encoder
            shards = f"The shards {first.shard} and {other.shard} in {folder}"
            if (one.fingerprint, one.image_arithmetic) != (two.fingerprint, two.image_arithmetic):
                raise InputError(
                    f"{shards} were embedded by different models or in different precisions, {one.name} in "
                    f"{one.image_arithmetic} and {two.name} in {two.image_arithmetic}; run one of them again."
                )
            if (first.shard.of, len(first.roots), first.frames, first.key) != (
                other.shard.of, len(other.roots), other.frames, other.key
            ):  # fmt: skip
                raise InputError(
                    f"{shards} come from different commands; run `roco index` with the same folders, `frames` and "
                    "number of shards again for one of them."
                )

    @staticmethod
    def _roots(folder: Path, found: Sequence[Manifest], images: Sequence[str] | None) -> list[str]:
        recorded = {other.roots for other in found}
        if images is None:
            if len(recorded) > 1:
                one, two = sorted(recorded)[:2]
                raise InputError(
                    f"The shards in {folder} saw the images at {', '.join(one)} and at {', '.join(two)}; say where "
                    "they are here with `images`."
                )
            return list(found[0].roots)
        if len(images) != len(found[0].roots):
            raise InputError(
                f"The parts in {folder} are of {len(found[0].roots)} folders ({', '.join(found[0].roots)}), and "
                f"{len(images)} were given; name where each of them is here with `images`, in the same order."
            )
        return [real_path(path) for path in images]

    def _add(self, folder: Path, manifest: Manifest, roots: Sequence[str]) -> None:
        names = sorted(manifest.parts) if manifest.complete else part_names(folder, manifest.shard)
        lost = [name for name in names if not (folder / name).exists()]
        if lost:
            raise InputError(f"{folder / lost[0]} is missing; run shard {manifest.shard} again, which writes it anew.")
        reader = PartReader(folder, manifest, names)
        changed = [name for name, rows in manifest.parts.items() if reader.rows[name] != rows]
        if changed:
            raise InputError(f"{folder / changed[0]} is another part than was written; delete it and run shard "
                             f"{manifest.shard} again.")  # fmt: skip
        for place in reader.places.values():
            path, root = absolute(place.path, roots[place.root]), roots[place.root]
            self._places[path] = (reader, place)
            self._walk.files[path] = FoundFile(place.size, place.mtime_ns, root)
        for before, root in zip(manifest.roots, roots, strict=True):
            self._walk.unreadable |= {_moved(p, before, root): why for p, why in manifest.unreadable.items()}
            self._walk.dangling |= {_moved(path, before, root) for path in manifest.dangling}

    def walk(self, roots: Sequence[str], excluded: Sequence[str]) -> Walk:
        """See `Source.walk`."""
        return self._walk

    def outcome(self, path: str) -> Outcome:
        """See `Embedded.outcome`."""
        reader, place = self._places[path]
        return reader.outcome(place)

    def content(self, path: str) -> tuple[list[FrameRecord], list[np.ndarray]]:
        """See `Embedded.content`."""
        reader, place = self._places[path]
        return reader.frames(place, keyed=self.keyed)


class OtherLibrary(Embedded):
    """All that another library holds, without its captions."""

    def __init__(self, store: Store) -> None:
        active = store.embeddings.active()
        if active is None or active.arithmetic is None:
            raise (
                no_image_yet(store.directory)
                if active is None
                else InputError(
                    f"The library {store.directory} was embedded in mixed precision by an early version; run "
                    "`roco index --reembed` on it first."
                )
            )
        self._store = store
        self._active = active
        self.encoder = recorded(active)
        self.salt = store.settings["salt"]
        self.choices = {root.path: root.frames for root in store.files.roots()}
        numbers = {root.id: root.path for root in store.files.roots()}
        self._files: dict[str, KnownFile] = {}
        refused = [*store.files.refused("unreadable"), *store.files.refused("not_image")]
        self._reasons = {entry.path: entry.reason for entry in refused}
        self._walk = Walk()
        for root in self.choices:
            for file in store.files.below(root):
                self._files[file.path] = file
                self._walk.files[file.path] = FoundFile(file.size, file.mtime_ns, numbers.get(file.root_id or 0, root))

    def walk(self, roots: Sequence[str], excluded: Sequence[str]) -> Walk:
        """See `Source.walk`."""
        return self._walk

    def outcome(self, path: str) -> Outcome:
        """See `Embedded.outcome`."""
        file = self._files[path]
        kind = "image" if file.status == "indexed" else "not_image" if file.status == "not_image" else "unreadable"
        return Outcome(kind, file.size, file.mtime_ns, file.content_hash, self._reasons.get(path))  # type: ignore[arg-type]

    def content(self, path: str) -> tuple[list[FrameRecord], list[np.ndarray]]:
        """See `Embedded.content`."""
        frames, vectors = [], []
        for number, count, *said, vector in self._store.files.content(self._files[path].id, self._active):
            frames.append(FrameRecord(number, count, Tags(**dict(zip(_TAGS, said, strict=True))), self.keyed))
            vectors.append(np.frombuffer(vector, "<f4"))
        return frames, vectors


def merge(
    directory: str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]],
    *,
    images: Sequence[str | os.PathLike[str]] | None = None,
    partial: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring a library up to date with folders of parts, or with other libraries; make it if there is none.

    What is new, changed, moved or gone is found as `Library.index` finds it, and the result is the same, row for row.

    Parameters
    ----------
    directory
        The library.
    sources
        Folders that `write_shard` wrote, and folders of libraries, all of one model and one precision.
    images
        Where the folders of images of the parts are on this machine, in the order in which they were indexed; None for
        where they were. The images themselves are not read.
    partial
        Take folders of parts of which shards are missing or unfinished; nothing is taken for gone then.
    progress
        Follows the run.

    Raises
    ------
    InputError
        If a source is none, is of another model than the library, or parts are damaged, missing or do not belong
        together. Nothing of this source is stored then.
    Busy, StorageFull, LibraryError
    """
    from roco_search.library import Library

    target = Path(real_path(directory))
    places = [Path(real_path(source)) for source in sources]
    for place in places:
        if place == target:
            raise InputError(f"{place} is the library itself; name what is to be merged into it.")
        pull(place)
        if not (place / DATABASE).is_file() and not (place.is_dir() and manifests(place)):
            raise InputError(
                f"There are neither parts nor a library in {place}; `roco index --shard 0/8 --parts DIR PATH` writes "
                "parts."
            )
    Library.create_or_open(target).close()
    total = IndexReport(os.fspath(target), "")
    for place in places:
        with Library.open(target) as library:
            if (place / DATABASE).is_file():
                with closing(Store.open(place)) as other, other.snapshot():
                    report = _merge(library, OtherLibrary(other), place, progress)
            else:
                given = None if images is None else [os.fspath(path) for path in images]
                report = _merge(library, Parts(place, given, partial), place, progress)
        total = report if len(places) == 1 else _sum(total, report)
    with Library.open(target) as library:
        library.vectors()
    return total


def _merge(library: "Library", source: Parts | OtherLibrary, place: Path, progress: Progress | None) -> IndexReport:
    active = library.model
    if active is not None and not active.is_of(source.encoder):
        raise InputError(
            f"{place} was embedded by {source.encoder.name} in {image_arithmetic(source.encoder)}, and the library "
            f"{library.directory} by {active.model} in {active.arithmetic or 'mixed precision'}; merge it into another "
            f"library with `library`, or embed the images with that model."
        )
    with library.writing(source.encoder, source.salt) as store:
        source.keyed = store.settings["salt"] == source.salt
        run = IndexRun(store, source, progress=progress)
        return run.run(list(source.choices), None, prune_missing=True, retry_failed=False, stated=source.choices)


def _sum(one: IndexReport, other: IndexReport) -> IndexReport:
    """Return what two runs did together."""
    return IndexReport(
        other.library,
        other.model,
        indexed=one.indexed + other.indexed,
        unchanged=one.unchanged + other.unchanged,
        moved=one.moved + other.moved,
        removed=one.removed + other.removed,
        frames=one.frames + other.frames,
        skipped=sorted({*one.skipped, *other.skipped}),
        not_images=sorted({*one.not_images, *other.not_images}),
        seconds=one.seconds + other.seconds,
        images_per_second=(one.frames + other.frames) / max(one.seconds + other.seconds, 1e-9),
        warnings=[*one.warnings, *other.warnings],
    )


def _moved(path: str, before: str, root: str) -> str:
    return root + path[len(before) :] if is_below(path, before) else path
