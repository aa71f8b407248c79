"""What a copy notes of its shared library: the address, which table that was, and what both had in common."""

import json
import os
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np

from roco_search.errors import LibraryCorrupt
from roco_search.library.directory import BASE, DATABASE, LOCK
from roco_search.library.faults import storage_faults
from roco_search.library.reports import SharedStatus
from roco_search.system.files import write_file
from roco_search.system.folders import ORIGIN, SHARED

_NAME = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """What is in the file `ORIGIN`.

    Attributes
    ----------
    folder
        The copy.
    address
        The shared library.
    table
        The id of its table; None as long as nothing was pulled.
    version
        The number of the newest commit that is in the copy; None if others may be missing.
    commits
        The names of the table's commits when `version` was read, if it is in a folder: while they are the same, nothing
        has changed.
    pulled
        When the copy was last known to be equal, ISO 8601 in UTC.
    pending
        Something was changed in the copy, and may not have been sent.
    traces
        Something was deleted from the table whose traces may not have been removed.
    pulling
        A pull was begun and may have broken off; nothing of the copy was left to send then.
    """

    folder: Path
    address: str
    table: str | None = None
    version: int | None = None
    commits: str | None = None
    pulled: str | None = None
    pending: bool = False
    traces: bool = False
    pulling: bool = False

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from a copy's folder.

        Raises
        ------
        LibraryCorrupt
            If it is damaged.
        """
        try:
            found: dict[str, Any] = json.loads((folder / ORIGIN).read_bytes())
            return cls(folder, **found)
        except (OSError, ValueError, TypeError):
            raise LibraryCorrupt(
                f"{folder / ORIGIN} is damaged; delete the folder {folder}, which is a copy of a shared library, and "
                "name that library by its address again."
            ) from None

    def note(self, **changes: Any) -> "Origin":
        """Write it with some changes; return that."""
        changed = replace(self, **changes)
        noted = {name: value for name, value in asdict(changed).items() if name != "folder"}
        with storage_faults(self.folder):
            write_file(self.folder / ORIGIN, json.dumps(noted))
        return changed

    def status(self) -> SharedStatus:
        """Return what a person wants to know of it."""
        return SharedStatus(self.address, self.version, self.pulled, self.pending)

    def base(self) -> dict[bytes, bytes]:
        """Return the digests of the documents that both had in common."""
        try:
            content = (self.folder / BASE).read_bytes()
        except FileNotFoundError:
            return {}
        found = np.load(BytesIO(content), allow_pickle=False).tobytes()
        names = [found[start : start + _NAME] for start in range(0, len(found), _NAME)]
        return dict(zip(names[::2], names[1::2], strict=True))

    def keep_base(self, digests: dict[bytes, bytes]) -> None:
        """Note the digests of the documents that both have in common."""
        joined = b"".join(part for pair in digests.items() for part in pair)
        content = BytesIO()
        np.save(content, np.frombuffer(joined, np.uint8).reshape(-1, 2 * _NAME))
        with storage_faults(self.folder):
            write_file(self.folder / BASE, content.getvalue())

    def newest_commits(self) -> str | None:
        """Return the names of the table's commits, as one text, where the table is in a folder; None elsewhere."""
        if "file://" not in self.address:
            return None
        from roco_search.library.shared.faults import unreachable

        folder = self.address.removeprefix(f"{SHARED}file://")
        try:
            names = os.listdir(f"{folder}/library.lance/_versions")  # noqa: PTH208 - names alone are wanted
        except FileNotFoundError:
            if self.table is None:
                return None
            raise unreachable(self.address) from None
        except OSError:
            raise unreachable(self.address) from None
        return " ".join(sorted(name for name in names if name.endswith(".manifest")))

    def give_up(self) -> None:
        """Remove the folder of a copy into which nothing was ever pulled."""
        from contextlib import suppress

        if self.table is None and not (self.folder / DATABASE).exists():
            with suppress(OSError):
                for name in (ORIGIN, LOCK):
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()
