"""An image goes on to another program: the system's own viewer, or a DICOM viewer on the web by a link.

What is opened is the file that the library has stored for an id; no request ever names a path.
"""

from __future__ import annotations

import os
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from roco_search.curation.delivery import open_file
from roco_search.errors import ImageError, InputError
from roco_search.imaging import read_uids
from roco_search.imaging.archives import Member, locate
from roco_search.system.text import printable

if TYPE_CHECKING:
    from roco_search.library import StoredFrame
    from roco_search.web.http.gate import Rules

PLACEHOLDERS = ("study", "series", "path", "id")
# A program may be another thing to the system's opener than to roco: a DICOM file has 128 free bytes at its beginning.
_PICTURES = re.compile(r"\.(dcm|dicom|ima|png|jpe?g|tiff?|webp|bmp|heic|nii|nii\.gz|nrrd|mha|jp2|\d+)", re.IGNORECASE)
_SCRIPTS = {"javascript", "data", "vbscript", "blob", "file"}


@dataclass(frozen=True, slots=True)
class Handover:
    """What a demo hands over.

    Attributes
    ----------
    local
        Only this machine reaches the demo, and not through a proxy: files may be opened and copied here.
    public
        Anybody reaches it: no path is shown.
    pattern
        Of the link to another viewer, with `PLACEHOLDERS`; empty for no link.
    """

    local: bool = False
    public: bool = False
    pattern: str = ""

    @classmethod
    def under(cls, rules: Rules, pattern: str = "") -> Handover:
        """Return what a demo with these rules may hand over."""
        elsewhere = rules.hosts or rules.any_address or rules.public or rules.origin
        return cls(local=not elsewhere, public=rules.public, pattern=pattern)

    def hands(self, *, redact_paths: bool) -> list[str]:
        """Return what may be done with chosen images: "paths" are shown, "files" copied, "marks" kept."""
        shown = not redact_paths
        allowed = {"paths": not self.public and shown, "files": self.local and shown, "marks": self.local}
        return [name for name, yes in allowed.items() if yes]

    def link(self, frame: StoredFrame) -> str | None:
        """Return the address at which another viewer shows a frame; None if the file lacks what the pattern needs.

        The library keeps no UIDs, so they are read from the file now.
        """
        if not self.pattern:
            return None
        wanted = {name for _, name, _, _ in string.Formatter().parse(self.pattern) if name}
        values: dict[str, str | None] = {"id": str(frame.id), "path": quote(os.fsencode(frame.path), safe="")}
        if wanted & {"study", "series"}:
            try:
                values |= read_uids(frame.path)
            except ImageError:
                return None
        if any(values.get(name) is None for name in wanted):
            return None
        return self.pattern.format_map(values)


def check_pattern(pattern: str, *, redact_paths: bool = False) -> str:
    """Return the pattern of a link to another viewer, if it is one.

    Raises
    ------
    InputError
        If it is no address, names something else than `PLACEHOLDERS`, or would show a path that is to be hidden.
    """
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError:
        parts = [("", "", None, None)]
    names = {name for _, name, _, _ in parts if name is not None}
    plain = all(not form and not conversion for _, _, form, conversion in parts)
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://\S+\Z", pattern, re.IGNORECASE)
    if scheme is None or scheme[1].lower() in _SCRIPTS or not names or not plain or not names <= set(PLACEHOLDERS):
        raise InputError(
            f"{pattern!r} is no pattern for `viewer`; write an address with {{study}}, {{series}}, {{path}} or {{id}}, "
            "such as `https://ohif.example/viewer?StudyInstanceUIDs={study}`."
        )
    if redact_paths and "path" in names:
        raise InputError("A `viewer` with {path} shows the paths that `redact_paths` hides; leave one of them out.")
    return pattern


def open_here(path: str) -> None:
    """Open a file of the library in the system's own viewer.

    Raises
    ------
    InputError
        If it is no file that can be handed over, or nothing opens it.
    """
    source = locate(path)
    name = printable(os.path.basename(path))  # noqa: PTH119 - a name that need not be UTF-8
    if isinstance(source, Member):
        raise InputError(f"{name} is in an archive, which no other viewer opens; unpack the archive.")
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{name} no longer exists; run `roco index` again.")
    if file.suffix and not _PICTURES.fullmatch("".join(file.suffixes[-2:])) and not _PICTURES.fullmatch(file.suffix):
        raise InputError(f"{name} has not the name of an image, so what would open it is unknown; copy its path.")
    open_file(path)
