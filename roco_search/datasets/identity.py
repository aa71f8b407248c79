"""Which rows show the same image: the content decides, not the path, so that a copy under another name counts too.

Content is the stored bytes. Almost all images are told apart by their size, and most others by their beginning, so that
few files of a large data set are read to the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from roco_search.datasets.pair import Row, StoredPicture

_BEGINNING = 4096  # bytes: the header and some of the pixels


def identify_images(*splits: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of splits, each with the identity of its image: equal wherever the content is, in any of them."""
    pictures = list({row.picture.name: row.picture for split in splits for row in split if row.picture}.values())
    known = {picture.name: found for picture, found in zip(pictures, identities(pictures), strict=True)}
    return [[replace(row, image=known[row.picture.name]) if row.picture else row for row in split] for split in splits]


def identities(pictures: Sequence[StoredPicture]) -> list[str]:
    """Return for each picture the name of the first one with the same content.

    A picture whose content cannot be read is like no other; the reason comes up when it is read as an image.
    """
    groups: list[list[StoredPicture]] = [list(pictures)]
    for key in (lambda picture: picture.size(), lambda picture: _digest(picture, _BEGINNING), _digest):
        groups = [part for group in groups for part in _divide(group, key)]
    first = {picture.name: group[0].name for group in groups for picture in group}
    return [first[picture.name] for picture in pictures]


def _divide(group: list[StoredPicture], key: Callable[[StoredPicture], Hashable]) -> Iterable[list[StoredPicture]]:
    """Divide pictures that may be the same into those that still may be."""
    if len(group) == 1:
        return [group]
    parts: dict[Hashable, list[StoredPicture]] = {}
    for picture in group:
        try:
            found = key(picture)
        except OSError:
            found = ("not readable", picture.name)
        parts.setdefault(found, []).append(picture)
    return parts.values()


def _digest(picture: StoredPicture, limit: int = -1) -> bytes:
    return hashlib.blake2b(picture.stored(limit), digest_size=16).digest()
