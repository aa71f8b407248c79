"""One shard of `roco index --shard I/N --parts DIR`: walk, plan, embed as ever, and write parts instead of rows.

Which share a file belongs to depends on its path below the folder that was given, so that machines agree on it wherever
they have mounted that folder.
"""

import hashlib
import os
import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import InputError
from roco_search.imaging.frame import FrameChoice, Slices
from roco_search.imaging.walk import Walk, is_below
from roco_search.library.directory import real_path
from roco_search.library.ingest.manifest import Manifest, Shard, common_key, manifests, part_names
from roco_search.library.ingest.parts import PartReader, PartWriter, Place, absolute, relative
from roco_search.library.ingest.pipeline import BATCH_SIZE, FinishedFile
from roco_search.library.ingest.plan import DEFAULT_FRAMES, Candidate, Roots, make_plan, real_roots
from roco_search.library.ingest.reading import Outcome
from roco_search.library.ingest.run import lost_roots, no_images, nothing_there
from roco_search.library.ingest.sources import ImageFiles
from roco_search.library.ingest.writing import STATUS, Writer
from roco_search.library.reports import IndexReport
from roco_search.library.truth.files import KnownFile, Root, Skipped
from roco_search.models.encoder import RecordedEncoder
from roco_search.system.files import locked, set_mode, write_errors
from roco_search.system.progress import Pace, Progress, following

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder

MOST_SHARDS = 100_000
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")


def parse_shard(text: str) -> Shard:
    """Read "3/8".

    Raises
    ------
    InputError
        If it is no such thing.
    """
    match = _SHARD.fullmatch(text.strip())
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or not 0 <= number < of <= MOST_SHARDS:
        last = f"0/{of} to {of - 1}/{of}" if 0 < of <= MOST_SHARDS else "0/8 to 7/8"
        raise InputError(f"{text!r} is no `shard`; shards are counted from 0, such as {last}.")
    return Shard(number, of)


def share_of(path: str, root: str, of: int) -> int:
    """Return the number of the shard, of `of`, that a file below `root` belongs to."""
    name = os.fsencode(os.path.basename(path)) if path == root else relative(path, root)  # noqa: PTH119
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) % of


def ordered_roots(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the real paths of what was asked for, each once, in the order in which it was asked for."""
    found = real_roots(paths)
    ordered = list(dict.fromkeys(real_path(path) for path in paths))
    if inside := next((a for a in found for b in found if a != b and is_below(a, b)), None):
        raise InputError(f"{inside} is inside another folder that was given; leave it out.")
    return ordered


class Remembered:
    """What the parts of a shard hold, as `make_plan` asks for it."""

    def __init__(self, reader: PartReader, roots: Sequence[str], choice: str | None) -> None:
        self._roots = [] if choice is None else [Root(n, path, choice) for n, path in enumerate(roots)]
        self.places: dict[str, Place] = {}
        self._known: dict[str, KnownFile] = {}
        for number, place in enumerate(reader.places.values()):
            path = absolute(place.path, roots[place.root])
            self.places[path] = place
            self._known[path] = KnownFile(
                number, path, place.root, place.size, place.mtime_ns, place.content_hash, place.choice, place.status
            )

    def roots(self) -> list[Root]:
        """See `plan.Remembered`."""
        return self._roots

    def below(self, folder: str) -> list[KnownFile]:
        """See `plan.Remembered`."""
        numbers = {root.id for root in self._roots if root.path == folder}
        return [file for file in self._known.values() if file.root_id in numbers or is_below(file.path, folder)]

    def at(self, path: str) -> KnownFile | None:
        """See `plan.Remembered`."""
        return self._known.get(path)


def write_shard(
    paths: Sequence[str | os.PathLike[str]],
    encoder: "Encoder",
    folder: str | os.PathLike[str],
    shard: Shard,
    *,
    frames: FrameChoice | None = None,
    slices: Slices | None = None,
    prune_missing: bool = False,
    retry_failed: bool = False,
    rehash: bool = False,
    progress: Progress | None = None,
    batch_size: int = BATCH_SIZE,
) -> IndexReport:
    """Embed one share of the images in folders, and write it as parts into `folder`, which all shards share.

    The second time, only what is new, changed or was not reached is embedded. The options are those of `Library.index`.

    Raises
    ------
    InputError
        If a path does not exist, there is no image, or the folder holds parts of another model, other folders or
        another number of shards; if pyarrow is not installed.
    Busy
        If another process is writing the same shard.
    StorageFull
        What was written stays, and the next run continues.
    """
    place = Path(real_path(folder))
    with write_errors(place):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(place / f".{shard.stem}.lock", f"Shard {shard} in {place} is being written"):
            run = ShardRun(place, shard, ordered_roots(paths), ImageFiles(encoder, batch_size), progress)
            return run.run(frames, slices, prune_missing, retry_failed, rehash)


class ShardRun:
    """What a run knows while it is in progress. `run` does it all; the caller holds the shard's lock."""

    def __init__(
        self, folder: Path, shard: Shard, roots: list[str], source: ImageFiles, progress: Progress | None
    ) -> None:
        self.folder = folder
        self.shard = shard
        self.roots = roots
        self.source = source
        self.progress = progress
        self.report = IndexReport(str(folder), source.encoder.name)
        self.key = ""

    def run(
        self, frames: FrameChoice | None, slices: Slices | None, prune_missing: bool, retry_failed: bool, rehash: bool
    ) -> IndexReport:
        """Bring the parts of the shard up to date."""
        started = time.monotonic()
        for root in self.roots:
            if not self.source.exists(root):
                raise nothing_there(root)
        walk = self.source.walk(self.roots, [str(self.folder)])
        if not walk.files and not walk.unreadable:
            raise no_images(self.roots)
        before = self._manifest_before()
        set_mode(self.folder, 0o700)
        self.key = common_key(self.folder, make=True)
        blank = Manifest(
            shard=self.shard,
            encoder=RecordedEncoder.of(self.source.encoder),
            roots=tuple(self.roots),
            frames=before.frames if before else DEFAULT_FRAMES,
            key=hashlib.sha256(self.key.encode()).hexdigest(),
            unreadable=walk.unreadable,
            dangling=tuple(sorted(walk.dangling)),
        )
        reader = PartReader(self.folder, blank, part_names(self.folder, self.shard))
        remembered = Remembered(reader, self.roots, before.frames if before else None)
        roots = Roots(remembered, self.roots, frames, slices)
        manifest = replace(blank, frames=roots.choices[self.roots[0]])
        share = Walk(
            {p: f for p, f in walk.files.items() if share_of(p, f.root, self.shard.of) == self.shard.number},
            walk.unreadable,
            walk.dangling,
        )
        plan = make_plan(
            remembered, share, roots, prune_missing=prune_missing, retry_failed=retry_failed, rehash=rehash
        )
        self.report.warnings += lost_roots(plan)
        writer = PartWriter(self.folder, manifest, self.key, self.roots)
        with write_errors(self.folder):
            manifest.write(self.folder)
        try:
            self._embed(plan.work, writer, reader, remembered)
        except KeyboardInterrupt:
            writer.flush()  # All but the batch in flight.
            raise
        for file in plan.gone:
            root = self.roots[file.root_id or 0]
            writer.put(FinishedFile(Candidate(file.path, root, "", file, None), Outcome("vanished")), "gone", None)
        writer.flush()
        self.report.removed += len(plan.gone)
        self.report.unchanged += plan.unchanged
        done = PartReader(self.folder, manifest, part_names(self.folder, self.shard))
        with write_errors(self.folder):
            replace(manifest, complete=True, parts=done.rows).write(self.folder)
        self._gather(Remembered(done, self.roots, manifest.frames), walk)
        self.report.seconds = time.monotonic() - started
        self.report.images_per_second = self.report.frames / max(self.report.seconds, 1e-9)
        return self.report

    def _manifest_before(self) -> Manifest | None:
        """Return the shard's manifest of an earlier run; refuse a folder of parts that cannot belong together."""
        encoder = RecordedEncoder.of(self.source.encoder)
        found = manifests(self.folder)
        for other in found:
            if other.shard.of != self.shard.of:
                raise InputError(
                    f"{self.folder} holds shards of {other.shard.of}, and {self.shard} was asked for; use the same "
                    "number, or name another folder with `parts`."
                )
            known = other.encoder
            if (known.fingerprint, known.image_arithmetic) != (encoder.fingerprint, encoder.image_arithmetic):
                raise InputError(
                    f"{self.folder} holds parts of the model {known.name} in {known.image_arithmetic}, and "
                    f"{encoder.name} in {encoder.image_arithmetic} was asked for; name another folder with `parts`."
                )
            if len(other.roots) != len(self.roots):
                raise InputError(
                    f"{self.folder} holds parts of {len(other.roots)} folders, and {len(self.roots)} were given; give "
                    "the same in the same order, or name another folder with `parts`."
                )
        return next((other for other in found if other.shard == self.shard), None)

    def _embed(self, work: Sequence[Candidate], writer: PartWriter, reader: PartReader, remembered: Remembered) -> None:
        pace = Pace()
        with (
            following(self.progress, len(work)) as progress,
            closing(self.source.read(work, ())) as batches,
        ):
            for files in batches:
                frames = sum(self._put(file, writer, reader, remembered) for file in files)
                progress.advance(len(files), images_per_second=pace.add(frames))

    def _put(self, file: FinishedFile, writer: PartWriter, reader: PartReader, remembered: Remembered) -> int:
        """Write one file; return the number of frames that were embedded."""
        kind, known = file.outcome.kind, file.candidate.known
        if kind in ("vanished", "other"):
            if kind == "other" and known is not None:
                writer.put(file, "gone", None)
                self.report.removed += 1
            return 0
        if kind == "same":  # Its content is what it was; only its stat is another.
            before = remembered.places[file.candidate.path]
            if before.status == "indexed":
                file.frames, file.vectors = reader.frames(before, keyed=True)
                self.report.unchanged += 1
            file.outcome = replace(file.outcome, reason=before.reason)
            writer.put(file, before.status, before.choice)
            return 0
        writer.put(file, STATUS[kind], Writer.stored_choice(file))
        self.report.indexed += kind == "image"
        self.report.frames += len(file.frames)
        return len(file.frames)

    def _gather(self, remembered: Remembered, walk: Walk) -> None:
        refused: dict[str, list[Skipped]] = {"unreadable": [], "not_image": []}
        for path, place in remembered.places.items():
            if place.status in refused:
                refused[place.status].append(Skipped(path, place.reason or ""))
        folders = [Skipped(path, reason) for path, reason in walk.unreadable.items()]
        self.report.skipped = sorted({*folders, *refused["unreadable"]})
        self.report.not_images = sorted(refused["not_image"])
