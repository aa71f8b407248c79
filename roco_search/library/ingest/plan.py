"""Compare what was walked with what the library knows: what to read, what stays, what is gone."""

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from roco_search.errors import InputError
from roco_search.imaging.frame import FrameChoice, Slices, choose_frames
from roco_search.imaging.walk import FoundFile, Walk, holds_image, is_below
from roco_search.library.truth.files import KnownFile, Root
from roco_search.library.truth.store import Store

DEFAULT_FRAMES = "middle"


class Remembered(Protocol):
    """What earlier runs found: the files of a library, or those of a shard's parts."""

    def roots(self) -> list[Root]:
        """Return all roots."""

    def below(self, folder: str) -> list[KnownFile]:
        """Return the files at or below a folder, and those to which a link in this root led."""

    def at(self, path: str) -> KnownFile | None:
        """Return the file at a real path; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to read. If its content is still `content_hash`, nothing about it has changed."""

    path: str
    root: str
    frames: str
    known: KnownFile | None
    content_hash: bytes | None


@dataclass(slots=True)
class Plan:
    """What a run has to do.

    Attributes
    ----------
    work
        Files to read, ascending by path: the order in which everything is stored.
    unchanged
        Number of images that need no look.
    gone
        Files that are no longer there, to be dropped unless one of the work turns out to be one of them, moved.
    lost
        Roots that vanished or are suddenly empty, with the number of known files below them, which are not gone.
    """

    work: list[Candidate] = field(default_factory=list)
    unchanged: int = 0
    gone: list[KnownFile] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)


def frames_text(choice: FrameChoice) -> str:
    """Return a choice of frames as it is stored.

    Raises
    ------
    InputError
        If it is none.
    """
    choose_frames(1, choice)
    return str(choice)


def slices_text(slices: Slices) -> str:
    """Return which slices of volumes are taken, as it is stored behind a choice of frames."""
    return f"/{slices.count}/{','.join(slices.planes)}"


def frames_choice(text: str) -> FrameChoice:
    """Return the choice of frames that `frames_text` wrote."""
    text = text.partition("/")[0]
    return int(text) if text.isdigit() else "all" if text == "all" else "middle"


def slices_choice(text: str) -> Slices:
    """Return the choice of slices that `slices_text` wrote behind one of frames; the usual one if it did not."""
    count, _, planes = text.partition("/")[2].partition("/")
    return Slices(int(count), tuple(planes.split(",") if planes else ())) if count.isdigit() else Slices()


def real_roots(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the real paths of what was asked for, each once, the outermost first."""
    asked = [os.fspath(path) for path in paths]
    if not asked or "" in asked:
        raise InputError("Name at least one folder or file to index, such as `roco index ./scans`.")
    return sorted({os.path.realpath(os.path.expanduser(path)) for path in asked}, key=lambda path: (len(path), path))  # noqa: PTH111


def _changed(text: str, frames: FrameChoice | None, slices: Slices | None) -> str:
    """Return a stored choice with what is given in its place."""
    chosen, separator, sliced = text.partition("/")
    return (chosen if frames is None else frames_text(frames)) + (
        separator + sliced if slices is None else slices_text(slices)
    )


class Roots:
    """The recorded roots and their choice of frames, with the one that this run gives to some.

    `stated` are choices as they are stored, which hold for these roots and all below them.
    """

    def __init__(
        self,
        remembered: Remembered,
        given: list[str],
        frames: FrameChoice | None,
        slices: Slices | None = None,
        stated: Mapping[str, str] | None = None,
    ) -> None:
        self.recorded = {root.path: root.frames for root in remembered.roots()}
        self.given = given
        self.choices = dict(self.recorded)
        for root, choice in (stated or {}).items():
            self.choices |= {nested: choice for nested in [root, *self.choices] if is_below(nested, root)}
        for root in given:
            if root not in self.choices:
                self.choices[root] = self._enclosing(root)
            if frames is not None or slices is not None:
                for nested in [other for other in self.choices if is_below(other, root)]:
                    self.choices[nested] = _changed(self.choices[nested], frames, slices)
        # The innermost root that holds a file decides.
        self._innermost = sorted(self.choices.items(), key=lambda item: -len(item[0]))

    def _enclosing(self, path: str) -> str:
        holders = [root for root in self.choices if is_below(path, root)]
        return self.choices[max(holders, key=len)] if holders else DEFAULT_FRAMES

    def frames_of(self, path: str, root: str) -> str:
        """Return the choice for a file that was reached from `root`."""
        return next((choice for folder, choice in self._innermost if is_below(path, folder)), self.choices[root])

    def affected(self) -> list[str]:
        """Return the given roots and the recorded ones inside them."""
        inside = {root for root in self.recorded if any(is_below(root, given) for given in self.given)}
        return sorted(inside | set(self.given))

    def record(self, store: Store) -> dict[str, int]:
        """Store the given roots; return the ids of all."""
        with store.transaction():
            store.files.record_roots({root: self.choices[root] for root in self.affected()})
        return {root.path: root.id for root in store.files.roots()}


def make_plan(
    remembered: Remembered,
    walk: Walk,
    roots: Roots,
    *,
    prune_missing: bool = False,
    retry_failed: bool = False,
    rehash: bool = False,
) -> Plan:
    """Decide what this run has to do. Opens no file, except to distinguish an empty disk from a changed one.

    With `rehash`, every file is read, whatever its size and time say.
    """
    affected = roots.affected()
    known: dict[str, KnownFile] = {}
    for root in affected:
        for file in remembered.below(root):
            known.setdefault(file.path, file)
    # A link can lead to a file that the library knows through another root.
    new = [path for path in walk.files if path not in known]
    outside = [path for path in new if not any(is_below(path, root) for root in affected)]
    known |= {path: found for path in outside if (found := remembered.at(path))}
    plan = Plan()
    for path in sorted(walk.files):
        _place(plan, path, walk.files[path], known.get(path), roots, retry_failed, rehash)
    if not prune_missing:
        plan.lost = _lost(walk, known, roots)
    here = [root for root in affected if root not in plan.lost]
    ids = {root.id: root.path for root in remembered.roots()}
    sheltered = [*plan.lost, *walk.unreadable, *([] if prune_missing else walk.dangling)]
    plan.gone = [
        file
        for path, file in sorted(known.items())
        if path not in walk.files
        and not any(is_below(path, folder) for folder in sheltered)
        and _belongs(file, here, ids)
    ]
    return plan


def _place(
    plan: Plan,
    path: str,
    found: FoundFile,
    known: KnownFile | None,
    roots: Roots,
    retry_failed: bool,
    rehash: bool,
) -> None:
    frames = roots.frames_of(path, found.root)
    if known is None:
        plan.work.append(Candidate(path, found.root, frames, None, None))
        return
    failed = known.status == "unreadable"
    same_choice = known.frames in {None, frames}
    # Where not even the bytes could be read, the reason is outside the file: nothing in its stat shows that it was
    # repaired. A file that was read and refused is read again only when it changes.
    retry = failed and (retry_failed or known.content_hash is None)
    if not rehash and same_choice and not retry and (known.size, known.mtime_ns) == (found.size, found.mtime_ns):
        plan.unchanged += known.status == "indexed"
        return
    content_hash = known.content_hash if same_choice and not retry else None
    plan.work.append(Candidate(path, found.root, frames, known, content_hash))


def _lost(walk: Walk, known: dict[str, KnownFile], roots: Roots) -> dict[str, int]:
    """Return the roots below which files were known and none is there now: a disk that is not mounted looks so."""
    remembered, present = sorted(known), sorted(walk.files)
    lost = {}
    for root in roots.affected():
        before = _below(remembered, root)
        if not before or root in walk.unreadable:
            continue
        now = _below(present, root)
        if not any(path in known for path in now) and not holds_image(now):
            lost[root] = len(before)
    return lost


def _below(ordered: list[str], folder: str) -> list[str]:
    """Return the part of an ordered list that is at or below `folder`."""
    base = folder.rstrip("/")
    at = bisect_left(ordered, folder)
    found = [folder] if at < len(ordered) and ordered[at] == folder else []
    for separator in ("!/", "/"):  # of an archive, of a folder; "0" follows "/"
        start, end = (bisect_left(ordered, base + separator[:-1] + last) for last in "/0")
        found += ordered[start:end]
    return found


def _belongs(file: KnownFile, here: list[str], root_paths: dict[int, str]) -> bool:
    """Whether a root of this run is responsible for `file`, by its path or by a link that led out of the root."""
    if any(is_below(file.path, root) for root in here):
        return True
    if any(is_below(file.path, root) for root in root_paths.values()):
        return False  # Found through a link once, but now another root's business.
    return file.root_id is not None and root_paths.get(file.root_id) in here
