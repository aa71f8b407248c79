"""One run of `roco index`: walk, plan, embed, store. Each transaction leaves a library that is whole."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from roco_search.errors import InputError
from roco_search.imaging.frame import FrameChoice, Slices
from roco_search.imaging.walk import Walk, is_below
from roco_search.library.ingest.captions import CaptionRun
from roco_search.library.ingest.pipeline import FinishedFile
from roco_search.library.ingest.plan import Candidate, Plan, Roots, make_plan, real_roots
from roco_search.library.ingest.reembedding import ReembedRun
from roco_search.library.ingest.sources import Source
from roco_search.library.ingest.writing import Writer
from roco_search.library.reports import IndexReport
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.files import KnownFile, Skipped
from roco_search.library.truth.store import Store
from roco_search.system.progress import Pace, Progress, following


class IndexRun:
    """What a run knows while it is in progress. `run` does it all; the caller holds the writer's lock."""

    def __init__(self, store: Store, source: Source, *, progress: Progress | None = None) -> None:
        self.store = store
        self.source = source
        self.encoder = source.encoder
        self.progress = progress
        self.report = IndexReport(str(store.directory), source.encoder.name)

    def run(
        self,
        paths: Iterable[str | os.PathLike[str]] | None,
        frames: FrameChoice | None,
        prune_missing: bool,
        retry_failed: bool,
        *,
        rehash: bool = False,
        reembed: ReembedRun | None = None,
        slices: Slices | None = None,
        stated: Mapping[str, str] | None = None,
        captions: bool | None = None,
        reports: bool | None = None,
    ) -> IndexReport:
        """Bring the library up to date with `paths`; see `Library.index`.

        With `reembed`, that is done first. `stated` are choices of frames as in `Roots`.
        """
        started = time.monotonic()
        if reembed is not None and not self._reembed(reembed, prune_missing):
            return self.report
        self.store.embeddings.delete_retired()
        given = real_roots([root.path for root in self.store.files.roots()] if paths is None else paths)
        active = self.store.embeddings.active()
        if active is not None:
            active.check_model(self.encoder)
            active.check_arithmetic(self.encoder)
            active = self.store.embeddings.find_model_at(active, self.encoder)
        remembered = self.store.files
        roots = Roots(remembered, given, frames, slices, stated)
        self._refuse_unknown(given, roots)
        walk = self.source.walk(roots.affected(), [os.path.realpath(self.store.directory)])
        plan = make_plan(remembered, walk, roots, prune_missing=prune_missing, retry_failed=retry_failed, rehash=rehash)
        if not self.source.whole:
            plan.gone = []
        self._report_lost(plan, given)
        self._refuse_empty(walk, given)
        before = set(roots.recorded)
        ids = roots.record(self.store)
        if plan.work:
            self._embed(plan, ids, active)
        self._drop(plan.gone)
        self._read_texts(walk, roots, plan, captions, reports)
        self.report.unchanged += plan.unchanged
        self._gather(walk, roots)
        self._refuse_without_image(given, before)
        self.report.seconds = time.monotonic() - started
        self.report.images_per_second = self.report.frames / max(self.report.seconds, 1e-9)
        return self.report

    def _reembed(self, run: ReembedRun, prune_missing: bool) -> bool:
        """Embed everything anew; return whether that is complete. The scan that follows finds these files unchanged."""
        done = self.report.reembedding = run.run(prune_missing)
        self.report.indexed += done.files
        self.report.unchanged -= done.files
        self.report.frames += done.frames
        if not done.complete:
            self.report.warnings.append(
                f"{len(done.unavailable)} files could not be read now, so the library still answers with its old "
                "model. Make them readable and do the same again, or set `prune_missing=True` to drop them."
            )
        return done.complete

    def _refuse_unknown(self, given: list[str], roots: Roots) -> None:
        for root in given:
            if not (self.source.exists(root) or self.store.files.any_below(root) or root in roots.recorded):
                raise nothing_there(root)

    def _report_lost(self, plan: Plan, given: list[str]) -> None:
        self.report.warnings += lost_roots(plan)
        if plan.lost and all(root in plan.lost for root in given):
            raise InputError(" ".join(self.report.warnings))

    def _refuse_empty(self, walk: Walk, given: list[str]) -> None:
        if not walk.files and not walk.unreadable and not any(self.store.files.any_below(root) for root in given):
            raise no_images(given)

    def _refuse_without_image(self, given: list[str], recorded: set[str]) -> None:
        """Forget new roots in which nothing was found, and refuse if that is all of them."""
        skipped = {entry.path for entry in self.report.skipped}
        barren = [
            root
            for root in given
            if root not in recorded
            and not self.store.files.any_below(root)
            and not any(is_below(path, root) for path in skipped)
        ]
        with self.store.transaction():
            self.store.files.forget_roots(barren)
        if barren and len(barren) == len(given):
            raise no_images(given)
        self.report.warnings += [str(no_images([root])) for root in barren]

    def _embed(self, plan: Plan, root_ids: dict[str, int], active: EmbeddingSet | None) -> None:
        if active is not None and active.arithmetic is None:
            self.report.warnings.append(_MIXED)
        active = active or self.store.embeddings.begin(self.encoder, "active")
        writer = Writer(self.store, active, root_ids, plan.gone)
        reusable = self._reusable(plan.work, active)
        pace = Pace()
        with (
            following(self.progress, len(plan.work)) as progress,
            closing(self.source.read(plan.work, reusable)) as batches,
        ):
            for files in batches:
                frames = self._commit(writer, files)
                progress.advance(len(files), images_per_second=pace.add(frames))
                for file in files:
                    if file.outcome.kind == "image" and file.outcome.content_hash is not None:
                        reusable.add((file.outcome.content_hash, writer.stored_choice(file)))
        adopted = writer.adopted
        plan.gone = [file for file in plan.gone if file.id not in adopted]

    def _reusable(self, work: Sequence[Candidate], active: EmbeddingSet) -> set[tuple[bytes, str | None]]:
        """Return what need not be decoded again: all embedded content whose row this run will not rewrite."""
        rewritten = {candidate.known.id for candidate in work if candidate.known is not None}
        known = self.store.files.embedded(active)
        return {(digest, frames) for file_id, digest, frames in known if digest and file_id not in rewritten}

    def _commit(self, writer: Writer, files: list[FinishedFile]) -> int:
        """Store what was read and embedded, in one transaction; return the number of frames."""
        with self.store.transaction():
            counted = [(file, *writer.put(file)) for file in files]
        for _, effect, frames in counted:
            match effect:
                case "indexed":
                    self.report.indexed += 1
                    self.report.frames += frames
                case "unchanged":
                    self.report.unchanged += 1
                case "moved":
                    self.report.moved += 1
                case "removed":
                    self.report.removed += 1
        return sum(frames for _, _, frames in counted)

    def _drop(self, gone: list[KnownFile]) -> None:
        with self.store.transaction():
            self.store.files.delete(file.id for file in gone)
        self.report.removed += len(gone)

    def _read_texts(self, walk: Walk, roots: Roots, plan: Plan, captions: bool | None, reports: bool | None) -> None:
        run = CaptionRun(self.store, walk, roots.affected(), plan.lost)
        if not self.source.has_texts:
            run.only_cases()
            return
        run.run(captions, reports)
        self.report.captions = run.read
        self.report.warnings += run.warnings

    def _gather(self, walk: Walk, roots: Roots) -> None:
        affected = roots.affected()
        folders = {Skipped(path, reason) for path, reason in walk.unreadable.items()}
        self.report.skipped = sorted({*folders, *self.store.files.refused("unreadable", affected)})
        self.report.not_images = self.store.files.refused("not_image", affected)


_MIXED = (
    "The older images of this library were embedded in mixed precision, by which a score may differ by up to 0.003; "
    "new ones are exact. To embed all of them exactly, index with `reembed=True`."
)


def nothing_there(root: str) -> InputError:
    """Return the refusal for a path that does not exist."""
    return InputError(f"There is no file or folder {root}; check the path.")


def lost_roots(plan: Plan) -> list[str]:
    """Return for a person what is kept although it is not there now."""
    return [
        f"{root} does not exist, or holds no image any more; its {count} files stay known. If its disk is not mounted, "
        "mount it; to drop them, index it again with `prune_missing=True`."
        for root, count in plan.lost.items()
    ]


def no_images(roots: list[str]) -> InputError:
    """Return the refusal for folders in which there is nothing to index."""
    return InputError(
        f"There are no images in {', '.join(roots)}; roco reads PNG, JPEG, TIFF, WebP, BMP, DICOM, NIfTI, NRRD and "
        "MetaImage. Check the path."
    )
