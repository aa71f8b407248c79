"""Bring the texts of images up to date with what stands beside them now; the last part of a run of `roco index`.

Nothing is read unless it was asked for, folder by folder; the library remembers that. A text belongs to the image that
its source names. Where the image has moved and the source still names the old place, the text stays with the image;
where the source no longer has it, it is forgotten.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from roco_search.errors import InputError, UnreadableImage
from roco_search.imaging.archives import SEPARATOR
from roco_search.imaging.sniff import IMAGE_EXTENSIONS
from roco_search.imaging.walk import FoundFile, Walk, is_below
from roco_search.library.ingest.folders import case_folders, class_folders
from roco_search.library.ingest.texts import (
    ROCO,
    SIDECARS,
    TABLES,
    Named,
    image_stem,
    is_caption_table,
    read_caption_table,
    read_roco_captions,
    read_sidecar,
)
from roco_search.library.truth.captions import Text
from roco_search.library.truth.files import KnownFile
from roco_search.library.truth.store import Store
from roco_search.vocabulary.negation import affirmed

Made = TypeVar("Made")

AT_ONCE = 500  # text files in one transaction
SHOWN = 3  # sources that a warning names
LOOKED_INTO = 20  # tables of which the head is read to see whether they hold captions
REPORT_REASONS = ("a structured report", "an encapsulated PDF")
REPORTS_NAME_PATIENTS = (
    "Reports name patients, and their words are now in the library, which only you can read. `reports=False` forgets "
    "them."
)


@dataclass(slots=True)
class Choices:
    """What is asked for with each root: see `roots.texts` in the schema."""

    by_root: dict[str, str]

    def change(self, roots: Iterable[str], captions: bool | None, reports: bool | None) -> None:
        """Note what is asked for now; None keeps what was, and a new root takes that of the root around it."""
        for root in roots:
            around = [
                other for other, asked in self.by_root.items() if asked and other != root and is_below(root, other)
            ]
            before = self.by_root.get(root) or (self.by_root[max(around, key=len)] if around else "")
            asked = set(before.split())
            for name, wanted in (("captions", captions), ("reports", reports)):
                if wanted is not None:
                    asked = asked - {"none"} | {name} if wanted else asked - {name}
            declined = captions is False or reports is False
            self.by_root[root] = " ".join(sorted(asked)) or ("none" if declined else "")

    def asks(self, what: str, path: str) -> bool:
        """Whether `what` is asked for at a path: the innermost root around it decides."""
        around = [root for root in self.by_root if is_below(path, root)]
        return bool(around) and what in self.by_root[max(around, key=len)].split()

    def silent(self, path: str) -> bool:
        """Whether nothing was ever said about the texts at a path."""
        around = [root for root in self.by_root if is_below(path, root)]
        return not around or not self.by_root[max(around, key=len)]


@dataclass(slots=True)
class Found:
    """What a source says: of images by path, or of the study in `study`."""

    size: int
    mtime_ns: int
    entries: list[Named] = field(default_factory=list)
    study: str | None = None


class CaptionRun:
    """One run over the roots that a run of `roco index` looked at. The caller holds the writer's lock.

    Parameters
    ----------
    store, walk
        The library, as the run left it, and the files that are there.
    roots
        The roots that are affected.
    lost
        Those of them that are not there now: what was read there stays.
    """

    def __init__(self, store: Store, walk: Walk, roots: Iterable[str], lost: Iterable[str] = ()) -> None:
        self.store = store
        self.walk = walk
        self.roots = [root for root in roots if root not in set(lost)]
        self.choices = Choices(store.captions.asked())
        self.warnings: list[str] = []
        self.read = 0
        self._sheltered = [*lost, *walk.unreadable]
        self._kept: set[str] = set()
        self._refused: list[str] = []
        self._cases: dict[str, str] = {}

    def run(self, captions: bool | None, reports: bool | None) -> None:
        """Read what is asked for, and forget what is gone or no longer asked for."""
        self.choices.change(self.roots, captions, reports)
        with self.store.transaction():
            self.store.captions.ask({root: self.choices.by_root[root] for root in self.roots})
        if any(self.choices.by_root[root] not in ("", "none") for root in self.roots):
            known = {file.path: file for root in self.roots for file in self.store.files.below(root)}
            sources = self._sources(known)
            while part := list(islice(sources, AT_ONCE)):
                with self.store.transaction():
                    for path, found in part:
                        self._store(path, found, known)
        self._forget_gone()
        self._set_cases()
        if reports:
            self.warnings.append(REPORTS_NAME_PATIENTS)
        self._report_refused()
        self._point_out()

    def only_cases(self) -> None:
        """Note the cases by their folders where no texts are asked for: what tables say of them is not here."""
        self.roots = [root for root in self.roots if self.choices.by_root.get(root, "") in ("", "none")]
        self._set_cases()

    # What there is.

    def _sources(self, known: dict[str, KnownFile]) -> Iterator[tuple[str, Found]]:
        """Yield every source that is there and wanted, with what it says; a source that has not changed, without."""
        captioned: set[str] = set()
        images = [path for path, file in known.items() if file.status == "indexed"]
        for path, stat in [*self._text_files(TABLES), *self._text_files(SIDECARS)]:
            if (read := self._reader(path)) and (entries := self._attempt(path, read)) is not None:
                captioned |= {entry.named for entry in entries if entry.text}
                self._cases |= {entry.named: f"{path}\0{entry.case}" for entry in entries if entry.case}
                yield path, Found(stat.size, stat.mtime_ns, entries)
        for path, stat, beside in self._sidecars(images):
            if (text := self._attempt(path, read_sidecar)) is not None:
                captioned |= set(beside) if text else set()
                yield path, Found(stat.size, stat.mtime_ns, [Named(image, text) for image in beside])
        yield from self._class_folders([path for path in images if path not in captioned])
        yield from self._reports(known)

    @staticmethod
    def _reader(path: str) -> Callable[[str], list[Named] | None] | None:
        """Return what reads a table of captions; None for another file."""
        if Path(path).parts[-2:] == ROCO:
            return read_roco_captions
        return read_caption_table if _ending(path) in TABLES else None

    def _text_files(self, endings: frozenset[str]) -> Iterator[tuple[str, FoundFile]]:
        for path in sorted(self.walk.files):
            if _ending(path) in endings and self._wanted("captions", path):
                yield path, self.walk.files[path]

    def _wanted(self, what: str, path: str) -> bool:
        return SEPARATOR not in path and self.choices.asks(what, path)

    def _sidecars(self, images: list[str]) -> Iterator[tuple[str, FoundFile, list[str]]]:
        beside: defaultdict[str, list[str]] = defaultdict(list)
        for image in images:
            for stem in {image, image_stem(image)}:
                beside[stem].append(image)
        for path, stat in self._text_files(SIDECARS):
            if owners := beside.get(os.path.splitext(path)[0]):  # noqa: PTH122
                yield path, stat, owners

    def _class_folders(self, images: list[str]) -> Iterator[tuple[str, Found]]:
        """Yield the folders that are named after a class; a text of an image's own says more."""
        inside: defaultdict[str, list[str]] = defaultdict(list)
        for image in images:
            inside[os.path.dirname(image)].append(image)  # noqa: PTH120
        for folder, name in sorted(class_folders(inside, self.choices.by_root).items()):
            if self.choices.asks("captions", folder):
                yield folder, Found(0, 0, [Named(image, name) for image in inside[folder]])

    def _reports(self, known: dict[str, KnownFile]) -> Iterator[tuple[str, Found]]:
        from roco_search.imaging.dicom.reports import read_report

        for path, file in sorted(known.items()):
            if file.status != "not_image" or path not in self.walk.files or not self._wanted("reports", path):
                continue
            stored = self.store.captions.text_files(path).get(path)
            stat = self.walk.files[path]
            if stored is not None and (stored.size, stored.mtime_ns) == (stat.size, stat.mtime_ns):
                yield path, Found(stat.size, stat.mtime_ns, study="")
            elif (report := self._attempt(path, read_report)) is not None:
                study = self.store.keyed_hash(report.study_uid, "study")
                yield path, Found(stat.size, stat.mtime_ns, [Named("", report.text)], study)

    def _attempt(self, path: str, read: Callable[[str], Made]) -> Made | None:
        """Read a source; where that fails, what was read from it before stays."""
        try:
            return read(path)
        except InputError as error:
            self._refused.append(str(error))
        except UnreadableImage as error:
            self._refused.append(f"{path}: {error}.")
        except OSError:
            self._refused.append(f"{path} cannot be read; check its permissions and the disk.")
        self._kept.add(path)
        return None

    # What is stored.

    def _store(self, path: str, found: Found, known: dict[str, KnownFile]) -> None:
        """Make what is stored of a source what it says now."""
        self._kept.add(path)
        if found.study == "":
            return
        captions = self.store.captions
        source = captions.text_files(path).get(path)
        stored = captions.of_text_file(source.id) if source else {}
        moved = {text.named: text.file_id for text in stored.values()}
        wanted: dict[Text, None] = {}  # in the order of the source
        for entry in found.entries:
            at = known.get(entry.named) or (self.store.files.at(entry.named) if entry.named else None)
            file_id = at.id if at else moved.get(entry.named)
            if entry.text and (file_id is not None or found.study):
                owner = None if found.study else file_id
                wanted[Text(owner, found.study, entry.named, entry.text, affirmed(entry.text))] = None
        captions.delete(caption_id for caption_id, text in stored.items() if text not in wanted)
        new = wanted.keys() - set(stored.values())
        if wanted:
            place = captions.record_text_file(path, found.size, found.mtime_ns)
            captions.add(place, [text for text in wanted if text in new])
        self.read += len(new)

    def _forget_gone(self) -> None:
        """Forget what was read from sources that are gone, or that are not asked for any more."""
        stored = {path: file for root in self.roots for path, file in self.store.captions.text_files(root).items()}
        gone = [
            file.id
            for path, file in stored.items()
            if path not in self._kept and not any(is_below(path, folder) for folder in self._sheltered)
        ]
        with self.store.transaction():
            self.store.captions.delete_text_files(gone)
            forgotten = self.store.captions.forget_traces()
        if forgotten:
            self.store.empty_journal()

    def _set_cases(self) -> None:
        """Note which files that belong to no series are of one case: by a table, or else by their folders."""
        for root in self.roots:
            files = self.store.files.without_series(root)
            folders = case_folders({os.path.dirname(path) for _, path, _ in files}, self.choices.by_root)  # noqa: PTH120
            keys = {case: self.store.keyed_hash(case, "case") for case in {*folders.values(), *self._cases.values()}}
            changed = []
            for file_id, path, before in files:
                case = self._cases.get(path) or folders.get(os.path.dirname(path))  # noqa: PTH120
                if (key := keys[case] if case else None) != before:
                    changed.append((key, file_id))
            if changed:
                with self.store.transaction():
                    self.store.files.set_cases(changed)

    # What the person hears.

    def _report_refused(self) -> None:
        more = len(self._refused) - SHOWN
        self.warnings += [f"Captions were not read: {reason}" for reason in self._refused[:SHOWN]]
        if more > 0:
            self.warnings.append(f"{more:,} more files of captions or reports could not be read.")

    def _point_out(self) -> None:
        """Say once that there are texts, where nothing was ever said about them."""
        silent = [root for root in self.roots if not self.choices.by_root[root]]
        found = []
        if silent and (path := self._some_captions()):
            found.append(f"captions beside these images, such as {path} (`captions=True` makes them searchable)")
        reports = self.store.files.refused("not_image", silent)
        if path := next((entry.path for entry in reports if entry.reason.startswith(REPORT_REASONS)), None):
            found.append(f"reports, such as {path} (`reports=True`)")
        if found:
            self.warnings.append(f"There are {', and '.join(found)}.")

    def _some_captions(self) -> str | None:
        """Return a file that holds captions, of a folder of which nothing was said."""
        by_ending: defaultdict[str, list[str]] = defaultdict(list)
        for path in self.walk.files:
            ending = _ending(path)
            if ending in TABLES or ending in SIDECARS:
                by_ending["table" if ending in TABLES else "beside"].append(path)
        silent = (path for path in sorted(by_ending["table"]) if SEPARATOR not in path and self.choices.silent(path))
        if found := next(filter(is_caption_table, islice(silent, LOOKED_INTO)), None):
            return found
        if not by_ending["beside"]:
            return None
        stems = {
            stem for path in self.walk.files if _ending(path) in IMAGE_EXTENSIONS for stem in (path, image_stem(path))
        }
        beside = (path for path in sorted(by_ending["beside"]) if SEPARATOR not in path and self.choices.silent(path))
        return next((path for path in beside if os.path.splitext(path)[0] in stems), None)  # noqa: PTH122


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - a name that need not be UTF-8
