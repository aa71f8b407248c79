"""The files of a data set, looked up in listings of their folders, so that 65,000 images take few system calls."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from roco_search.errors import InputError
from roco_search.imaging.sniff import DICOM_EXTENSIONS, RASTER_EXTENSIONS

_IMAGES = RASTER_EXTENSIONS | DICOM_EXTENSIONS
_IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "pictures", "figures"})
_OTHER_FOLDERS = frozenset({"masks", "mask", "segmentations", "segmentation", "labels", "annotations", "ground_truth"})
_FOLDERS = 64  # beside a table: no more are searched for a bare name


class FileIndex:
    """Finds files by their paths relative to a folder. Each folder is listed once, when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, _Folder] = {}

    def find(self, relative: str) -> Path | None:
        """Return the path of a file, or None if it does not exist.

        An absolute path is looked up as it is. The separators may be those of Windows.
        """
        if "\0" in relative:  # which JSON can encode, and no name holds
            return None
        for written in dict.fromkeys((relative, with_slashes(relative))):
            folder, name = os.path.split(written)
            if found := self._folder(folder).find(name):
                return found
        return None

    def find_image(self, folder: str, stem: str) -> Path | None:
        """Return the image of this name in a folder, whatever its extension; or None."""
        return self._folder(folder).find_image(stem)

    def count_images(self, folder: str) -> int:
        """Return the number of images in a folder."""
        return len(self._folder(folder).images)

    def _folder(self, name: str) -> _Folder:
        if name not in self._folders:
            self._folders[name] = _Folder(self.root / name)
        return self._folders[name]


class ImageFolders:
    """Finds the images of a table: by their paths relative to its folder, or else in the folders beside it.

    Many data sets have a table of bare names, and the images in ``images/``. Where there is such a folder no other is
    searched, and never one of masks: their names are those of the images. A name may lack its extension. With
    ``beside=False`` paths are only relative to the folder itself.
    """

    def __init__(self, root: Path, *, beside: bool = True) -> None:
        self._files = FileIndex(root)
        self._beside: list[str] | None = None if beside else []

    def find(self, relative: str) -> list[Path]:
        """Return the path of an image; several where different folders have it, none where it does not exist."""
        if "\0" in relative:
            return []
        if found := self._find("", relative):
            return [found]
        if os.path.isabs(relative):  # noqa: PTH117
            return []
        if self._beside is None:
            self._beside = self._list()
        return [found for folder in self._beside if (found := self._find(folder, relative))]

    def _find(self, folder: str, relative: str) -> Path | None:
        path = os.path.join(folder, relative)  # noqa: PTH118
        if found := self._files.find(path):
            return found
        parent, name = os.path.split(with_slashes(path))
        return None if os.path.splitext(name)[1].lower() in _IMAGES else self._files.find_image(parent, name)  # noqa: PTH122

    def _list(self) -> list[str]:
        """Return the folders to search: those for images by their name, or else all, and those in them."""
        near = sorted(path for path in self._files.root.glob("*/") if not path.name.startswith("."))
        near = [path for path in near if path.name.casefold() not in _OTHER_FOLDERS][:_FOLDERS]
        near = [path for path in near if path.name.casefold() in _IMAGE_FOLDERS] or near
        inside = sorted(path for folder in near for path in folder.glob("*/"))[:_FOLDERS]
        return [path.relative_to(self._files.root).as_posix() for path in (*near, *inside)]


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with os.scandir(path) as entries:
                self._names = {entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)}
        except (FileNotFoundError, NotADirectoryError):
            self._names = set()
        except OSError as error:
            raise InputError(f"{path} cannot be listed ({error.strerror}); check its permissions.") from None
        self._folded: dict[str, str] | None = None
        self._images: dict[str, str] | None = None

    def find(self, name: str) -> Path | None:
        if name in self._names:
            return self._path / name
        # macOS stores names in another Unicode form than it was given, and Windows ignores case.
        if self._folded is None:
            self._folded = {_fold(known): known for known in self._names}
        found = self._folded.get(_fold(name))
        return None if found is None else self._path / found

    def find_image(self, stem: str) -> Path | None:
        found = self.images.get(stem)
        return None if found is None else self._path / found

    @property
    def images(self) -> dict[str, str]:
        """The images by their names without extension; hidden files are ignored."""
        if self._images is None:
            split = ((os.path.splitext(name), name) for name in sorted(self._names) if not name.startswith("."))  # noqa: PTH122
            self._images = {stem: name for (stem, suffix), name in split if suffix.lower() in _IMAGES}
        return self._images


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def with_slashes(path: str) -> str:
    """Return a path that may have been written on Windows with the separators of all other systems."""
    return path.replace("\\", "/")


def leaves_folder(relative: str) -> bool:
    """Return whether a path leads, or could lead, out of the folder that it is relative to."""
    parts = with_slashes(relative).split("/")
    return ".." in parts or not parts[0] or parts[0][1:2] == ":"  # the last condition is a drive of Windows


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises
    ------
    InputError
        If it cannot be read, is not UTF-8, or holds NUL; the line is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions and the disk.") from None
    if (place := content.find(0)) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise InputError(f"{path}, line {line}: it is no text, as there is a NUL; save the file as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: it is not UTF-8; save the file as UTF-8.") from None
