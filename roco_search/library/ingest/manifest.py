"""Parquet parts: what one process has embedded, for `roco library merge` and for any other program.

A folder of parts belongs to one command, run for each of several shards. Each shard has numbered parts and a manifest:

    shard-00003-of-00008.00000.parquet  shard-00003-of-00008.00001.parquet …  shard-00003-of-00008.json

A part is a table with one row a picture, or one for a file without any, ascending by path, and it is never changed: a
later part of the same shard says anew what has changed, and which files are gone. Parts and manifests appear whole or
not at all. `series.key` is the key of the hashes that stand for series and studies, the same for all shards.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from roco_search.errors import InputError
from roco_search.models.encoder import RecordedEncoder
from roco_search.system.files import replacing, write_errors, write_file

FORMAT = 1
KEY = "series.key"
_NAME = re.compile(r"shard-(\d{5,})-of-(\d{5,})\.(?:(\d{5,})\.parquet|json)")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` shares of the files, counted from 0."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"shard-{self.number:05}-of-{self.of:05}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a shard is of, and what belongs to it.

    Attributes
    ----------
    shard
        Which one it is.
    encoder
        What made the vectors.
    roots
        The folders and files that were given, in the order in which they were: real paths on that machine.
    frames
        The choice of frames, as a library stores it.
    key
        The SHA-256 of `KEY`'s content, in hexadecimal.
    complete
        Whether every file of the share is in the parts.
    parts
        The number of rows of each part by its name, if complete.
    unreadable
        Folders that could not be listed, with the reason: nothing below them is known to be gone.
    dangling
        Where links point to something that is not there.
    """

    shard: Shard
    encoder: RecordedEncoder
    roots: tuple[str, ...]
    frames: str
    key: str
    complete: bool = False
    parts: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    dangling: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Put it into its folder. Raises OSError."""
        write_file(folder / f"{self.shard.stem}.json", json.dumps({"format": FORMAT, **asdict(self)}, indent=1))

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest.

        Raises
        ------
        InputError
            If it cannot be read, is of a newer roco, or is none.
        """
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") != FORMAT:
                raise InputError(
                    f"{path} was written by a newer roco; update with `pip install --upgrade roco-search`."
                )
            content |= {"shard": Shard(**content["shard"]), "encoder": RecordedEncoder(**content["encoder"])}
            content |= {"roots": tuple(content["roots"]), "dangling": tuple(content["dangling"])}
            return cls(**content)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path} is no manifest of parts; run its shard again, which writes it anew.") from None


def manifests(folder: Path) -> list[Manifest]:
    """Return the manifests in a folder, ascending by shard; raises as `Manifest.read`."""
    names = sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name) and name.endswith(".json"))  # noqa: PTH208
    return [Manifest.read(folder / name) for name in names]


def part_names(folder: Path, shard: Shard) -> list[str]:
    """Return the names of a shard's parts, in the order in which they were written."""
    matches = (_NAME.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208
    found = [
        match for match in matches if match and match[3] and (int(match[1]), int(match[2])) == (shard.number, shard.of)
    ]
    return [match[0] for match in sorted(found, key=lambda match: int(match[3]))]


def common_key(folder: Path, *, make: bool) -> str:
    """Return the key of the hashes, in hexadecimal; the first process makes it.

    Raises
    ------
    InputError
        If there is none, or something else.
    """
    path = folder / KEY
    if make and not path.exists():
        with write_errors(path), suppress(FileExistsError), replacing(path, overwrite=False) as temporary:
            temporary.write_text(os.urandom(32).hex())
    try:
        key = path.read_text("ascii").strip()
        bytes.fromhex(key)
    except FileNotFoundError:
        raise InputError(f"The file {path} is missing; copy the folder with all that is in it.") from None
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read; copy the folder again with all that is in it.") from None
    return key
