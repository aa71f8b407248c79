"""Archives are read in place: `export.zip!/DICOM/IM0001` is a member, a source like any file.

Nothing is unpacked to disk. A member is read into memory when it is asked for, up to a limit that its archive's
directory tells before; one whose name would lead out of the archive, that is encrypted, a link, or packed more tightly
than any image is, is refused. Archives inside archives are not opened.
"""

import io
import lzma
import os
import tarfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Literal, NamedTuple

from roco_search.errors import UnreadableImage

SEPARATOR = "!/"
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_MEMBER = 400 * 2**20  # Bytes: what is in memory beside the picture made of it.
MAX_MEMBERS = 1_000_000
MAX_RATIO = 1100  # Deflate's own limit is 1032; what is packed more tightly is made to be.
_KEPT = 64 * 2**20  # Bytes of members that a packed tar was read past, for those who ask for them next.
_TRICK = "its name in the archive leads out of it; unpack the archive by hand if you trust it"
_TOO_LARGE = f"too large: more than {MAX_MEMBER >> 20} MiB in an archive; unpack the archive"
_BOMB = "packed more tightly than any image is; unpack the archive by hand if you trust it"
_ENCRYPTED = "encrypted; unpack the archive with its password"
_LINK = "a link or a device in an archive, not a file"
_DAMAGED = "damaged in its archive; copy or export the archive again"
_UNREADABLE = "the archive is damaged, or no archive; copy or export it again"


class Stat(NamedTuple):
    """Size of a member in bytes, and what changes with its content: the CRC of a zip's, the time of a tar."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The directory of an archive: its members by name, and those that are refused, with the reason."""

    members: dict[str, Stat]
    refused: dict[str, str]


@dataclass(frozen=True)
class Member:
    """A file in an archive. It can be used as a path where only its name, its size and its content are wanted.

    What was read of it is kept as long as it is itself: a packed tar is read from its beginning.
    """

    archive: Path
    member: str

    def __fspath__(self) -> str:
        return f"{self.archive}{SEPARATOR}{self.member}"

    __str__ = __fspath__

    @property
    def name(self) -> str:
        """The last part of its name."""
        return PurePosixPath(self.member).name

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""
        return PurePosixPath(self.member).suffix

    def with_name(self, name: str) -> "Member":
        """Return the member of another name in the same folder."""
        return Member(self.archive, str(PurePosixPath(self.member).with_name(name)))

    def exists(self) -> bool:
        """Whether the archive has it."""
        try:
            found = listing(self.archive)
            return self.member in found.members or self.member in found.refused
        except UnreadableImage:
            return False

    def stat(self) -> Stat:
        """Return its size and its stamp. Raises as `open`."""
        found = listing(self.archive)
        if (reason := found.refused.get(self.member)) is not None:
            raise UnreadableImage(reason)
        if self.member not in found.members:
            raise FileNotFoundError(str(self))
        return found.members[self.member]

    def open(self, mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """Return its content.

        Raises
        ------
        FileNotFoundError
            If the archive does not have it.
        UnreadableImage
            If it is refused, or damaged.
        """
        return io.BytesIO(self._content)

    def head(self, count: int) -> bytes:
        """Return its first bytes, of a zip's member without the rest. Raises as `open`."""
        if "_content" in self.__dict__ or not zipfile.is_zipfile(self.archive):
            return self._content[:count]
        size = self.stat().st_size
        return _guarded(lambda: _from_zip(self.archive, self.member, min(size, count)))

    @cached_property
    def _content(self) -> bytes:
        size = self.stat().st_size
        if zipfile.is_zipfile(self.archive):
            found = _guarded(lambda: _from_zip(self.archive, self.member, size + 1))
        else:
            found = _guarded(lambda: _tars.content(self.archive, self.member))
        if len(found) != size:
            raise UnreadableImage(_DAMAGED)
        return found


def is_archive(path: str) -> bool:
    """Return whether a file is an archive that roco reads, by its name."""
    return path.lower().endswith(ENDINGS)


def locate(path: "str | os.PathLike[str] | Member") -> Path | Member:
    """Return what a path names: a file, or a member of an archive."""
    if isinstance(path, Member):
        return path
    text = os.fspath(path)
    start = text.find(SEPARATOR)
    while start >= 0:
        if is_archive(text[:start]) and os.path.isfile(text[:start]):  # noqa: PTH113
            return Member(Path(text[:start]), text[start + len(SEPARATOR) :])
        start = text.find(SEPARATOR, start + 1)
    return Path(text)


def exists(path: Path | Member) -> bool:
    """Return whether a file, or a link to one that is not there, is at a path, or a member in its archive."""
    return path.exists() if isinstance(path, Member) else os.path.lexists(path)


_listings: OrderedDict[tuple[str, int, int], Listing] = OrderedDict()
_lock = threading.Lock()


def listing(archive: Path) -> Listing:
    """Return the directory of an archive; that of one that has not changed is remembered.

    Raises
    ------
    OSError
        If the archive is not there, or may not be read.
    UnreadableImage
        If it is damaged, or has more than `MAX_MEMBERS` members.
    """
    status = archive.stat()
    key = (str(archive), status.st_size, status.st_mtime_ns)
    with _lock:
        if key in _listings:
            _listings.move_to_end(key)
            return _listings[key]
    try:
        found = _list_zip(archive) if zipfile.is_zipfile(archive) else _list_tar(archive, status)
    except (UnreadableImage, MemoryError):
        raise
    except OSError as error:
        if _is_of_the_system(error):
            raise
        raise UnreadableImage(_UNREADABLE) from None
    except Exception:  # zipfile and tarfile raise nearly anything on a damaged archive
        raise UnreadableImage(_UNREADABLE) from None
    with _lock:
        _listings[key] = found
        while len(_listings) > 16:
            _listings.popitem(last=False)
    return found


def _list_zip(archive: Path) -> Listing:
    members, refused = dict[str, Stat](), dict[str, str]()
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        _check_number(len(entries))
        for entry in entries:
            if entry.is_dir():
                continue
            reason = _trick(entry.filename) or _cost(entry.file_size, entry.compress_size)
            if entry.flag_bits & 1:
                reason = _ENCRYPTED
            if (entry.external_attr >> 16) & 0o170000 not in {0, 0o100000}:
                reason = _LINK
            _enter(members, refused, entry.filename, Stat(entry.file_size, entry.CRC), reason)
    return Listing(members, refused)


def _list_tar(archive: Path, status: os.stat_result) -> Listing:
    members, refused = dict[str, Stat](), dict[str, str]()
    with _open_tar(archive) as opened:
        for number, entry in enumerate(opened):
            _check_number(number)
            if entry.isdir():
                continue
            reason = _trick(entry.name) or _cost(entry.size, None)
            if not entry.isreg():
                reason = _LINK
            _enter(members, refused, entry.name, Stat(entry.size, status.st_mtime_ns), reason)
    return Listing(members, refused)


def _enter(members: dict[str, Stat], refused: dict[str, str], name: str, stat: Stat, reason: str | None) -> None:
    name = name.removeprefix("./")
    members.pop(name, None)  # of two of one name the last counts, as for those who unpack it
    if reason is None:
        members[name] = stat
        refused.pop(name, None)
    else:
        refused[name] = reason


def _check_number(number: int) -> None:
    if number > MAX_MEMBERS:
        raise UnreadableImage(f"the archive holds more than {MAX_MEMBERS:,} files; unpack it")


def _trick(name: str) -> str | None:
    """Return why a name is refused: absolute, upwards, a drive's, or with what no name needs."""
    parts = name.replace("\\", "/").split("/")
    tricky = name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name
    return _TRICK if tricky or any(ord(one) < 32 for one in name) else None


def _cost(size: int, packed: int | None) -> str | None:
    if size > MAX_MEMBER:
        return _TOO_LARGE
    return _BOMB if packed is not None and size > 2**20 and size > MAX_RATIO * max(1, packed) else None


def _open_tar(archive: Path) -> tarfile.TarFile:
    return tarfile.open(archive, "r:*")


def _guarded(read: Callable[[], bytes]) -> bytes:
    """Return what `read` returns; refuse a member that it cannot read."""
    try:
        return read()
    except (RuntimeError, NotImplementedError):
        raise UnreadableImage("packed in a way that Python does not read; unpack the archive") from None
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError, KeyError):
        raise UnreadableImage(_DAMAGED) from None
    except OSError as error:
        if _is_of_the_system(error):
            raise
        raise UnreadableImage(_DAMAGED) from None


def _is_of_the_system(error: OSError) -> bool:
    """Whether the system refused something. gzip and bz2 raise an OSError without a number for damaged data."""
    return error.errno is not None


def _from_zip(archive: Path, name: str, count: int) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        known = opened.NameToInfo
        entry = known[name] if name in known else known["./" + name]
        with opened.open(entry) as file:
            return file.read(count)


class _Tars:
    """Tar archives that are open, each at the place to which it was read: members mostly come in their order.

    A packed tar can only be read from its beginning. What was read past on the way is kept for a while, since several
    threads ask for neighbours, a little out of order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Tar] = OrderedDict()

    def content(self, archive: Path, name: str) -> bytes:
        """Return the content of a member."""
        status = archive.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        with self._lock:
            tar = self._open.get(str(archive))
            if tar is None or tar.stamp != stamp:
                tar = _Tar(archive, stamp)
                self._open[str(archive)] = tar
                while len(self._open) > 4:
                    self._open.popitem(last=False)
        return tar.content(name)


class _Tar:
    def __init__(self, archive: Path, stamp: tuple[int, int]) -> None:
        self.stamp = stamp
        self._archive = archive
        self._lock = threading.Lock()
        self._passed: OrderedDict[str, bytes] = OrderedDict()
        self._begin()

    def _begin(self) -> None:
        self._tar = _open_tar(self._archive)
        self._left = iter(self._tar)

    def content(self, name: str) -> bytes:
        with self._lock:
            if name in self._passed:
                return self._passed.pop(name)
            found = self._look(name)
            if found is None:
                self._begin()
                found = self._look(name)
        if found is None:
            raise KeyError(name)
        return found

    def _look(self, name: str) -> bytes | None:
        for entry in self._left:
            if not entry.isreg() or entry.size > MAX_MEMBER:
                continue
            file: IO[bytes] | None = self._tar.extractfile(entry)
            content = file.read() if file is not None else b""
            self._tar.members = []  # type: ignore[attr-defined]  # tarfile remembers each that it has passed
            own = entry.name.removeprefix("./")
            if own == name:
                return content
            self._passed[own] = content
            while sum(map(len, self._passed.values())) > _KEPT:
                self._passed.popitem(last=False)
        return None


_tars = _Tars()
if hasattr(os, "register_at_fork"):
    # A child of a fork shares the place in the file with its parent.
    os.register_at_fork(after_in_child=_tars.__init__)  # type: ignore[misc]
