"""Walk folders: which files are there, by their real paths, without opening one."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from roco_search.errors import ImageError, UnreadableImage
from roco_search.imaging import sniff
from roco_search.imaging.archives import SEPARATOR, Stat, is_archive, listing
from roco_search.imaging.sniff import IMAGE_EXTENSIONS
from roco_search.system.files import changed_ns


class FoundFile(NamedTuple):
    """A regular file: its size in bytes, its time of change (`changed_ns`), the root it was reached from."""

    size: int
    mtime_ns: int
    root: str


@dataclass(slots=True)
class Walk:
    """The files below some roots.

    Attributes
    ----------
    files
        By real path, each once however many links and roots lead to it.
    unreadable
        Folders that could not be listed, with the reason: nothing below them is known to be gone.
    dangling
        Where links point to something that is not there, as on a disk that is not mounted.
    """

    files: dict[str, FoundFile] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    dangling: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _stack: list[str] = field(default_factory=list)

    def add(self, root: str, excluded: Iterable[str] = ()) -> None:
        """Walk everything below `root`, a real path, but not into the `excluded` folders.

        Hidden files and folders and the leftovers of macOS (``._*``, ``__MACOSX``) are skipped; the root itself
        may be hidden. Links are followed, each folder is visited once, so that a cycle ends.
        """
        self._seen.update(excluded)
        self._visit(root, root)
        while self._stack:
            self._list(self._stack.pop(), root)

    def _list(self, folder: str, root: str) -> None:
        try:
            with os.scandir(folder) as entries:
                base = folder.rstrip("/") + "/"
                for entry in entries:
                    self._enter(entry, base, root)
        except FileNotFoundError:
            return  # It vanished after its parent was listed.
        except OSError as error:
            self.unreadable[folder] = _folder_reason(error)

    def _enter(self, entry: "os.DirEntry[str]", base: str, root: str) -> None:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            return
        path = base + entry.name
        if entry.is_symlink():
            self._visit(os.path.realpath(path), root)
        elif entry.is_dir(follow_symlinks=False):
            self._push(path)
        elif entry.is_file(follow_symlinks=False):
            try:
                self._file(path, entry.stat(follow_symlinks=False), root)
            except FileNotFoundError:
                return

    def _visit(self, path: str, root: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            self.dangling.add(path)
            return
        if stat.S_ISDIR(status.st_mode):
            self._push(path)
        elif stat.S_ISREG(status.st_mode):
            self._file(path, status, root)

    def _push(self, folder: str) -> None:
        if folder not in self._seen:
            self._seen.add(folder)
            self._stack.append(folder)

    def _file(self, path: str, status: os.stat_result, root: str) -> None:
        if is_archive(path):
            self._archive(path, root)
            return
        self.files.setdefault(path, FoundFile(status.st_size, changed_ns(status), root))

    def _archive(self, path: str, root: str) -> None:
        """Enter the members of an archive, those that are refused included: reading one says why."""
        try:
            found = listing(Path(path))
        except UnreadableImage as error:
            self.unreadable[path] = str(error)
        except OSError as error:
            self.unreadable[path] = _folder_reason(error)
        else:
            refused = {name: Stat(0, 0) for name in found.refused if Path(name).suffix.lower() in IMAGE_EXTENSIONS}
            for name, status in (found.members | refused).items():
                if any(_is_hidden(part) for part in name.split("/")):
                    continue
                self.files.setdefault(path + SEPARATOR + name, FoundFile(status.st_size, status.st_mtime_ns, root))


def _is_hidden(name: str) -> bool:
    """Return whether a file or folder is passed over; a way upwards is not: that it is refused has to be said."""
    return name == "__MACOSX" or (name.startswith(".") and not name.startswith(".."))


def holds_image(paths: Iterable[str]) -> bool:
    """Return whether one of these files looks like an image, readable or not."""
    for path in paths:
        try:
            if sniff(path) is not None:
                return True
        except ImageError:
            return True
    return False


def is_below(path: str, folder: str) -> bool:
    """Return whether `path` is `folder` or below it; a member is below its archive."""
    base = folder.rstrip("/")
    return path == folder or path.startswith((base + "/", base + SEPARATOR))


def _folder_reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to list this folder; change its permissions or run as a user who may"
    return f"this folder could not be listed ({error.strerror}); check the disk or the network drive"
