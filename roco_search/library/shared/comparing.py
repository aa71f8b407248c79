"""Compare a copy with its shared library: what to bring to which side, and whether both are equal to the last vector.

Both are compared document by document with what they had in common: who differs from that has changed. Where both have
changed a document, the copy's is sent, since it was read from the file just now; but what is deleted on one side and
changed on the other stays.
"""

from dataclasses import dataclass

import numpy as np

from roco_search.library.shared.documents import name_of, named
from roco_search.library.shared.faults import absent
from roco_search.library.shared.origin import Origin
from roco_search.library.shared.table import Table
from roco_search.library.truth.store import Store


@dataclass(frozen=True, slots=True)
class Differences:
    """What to do with which documents: take or forget them here, send or delete them there."""

    take: set[bytes]
    forget: set[bytes]
    send: set[bytes]
    delete: set[bytes]
    outdated: set[bytes]
    """Those of the table that are replaced or deleted: their traces have to be removed."""


def compare(base: dict[bytes, bytes], mine: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> Differences:
    """Return how two sides that have changed since they had `base` in common become equal.

    >>> compare({b"a": b"1"}, {b"a": b"1"}, {b"b": b"1"})
    Differences(take={b'b'}, forget={b'a'}, send=set(), delete=set(), outdated=set())
    """
    found = Differences(set(), set(), set(), set(), set())
    for name in mine.keys() | theirs.keys():
        common, here, there = base.get(name), mine.get(name), theirs.get(name)
        if here == there:
            continue
        if here == common or here is None:
            if there is None:
                found.forget.add(name)
            elif here is None and there == common:
                found.delete.add(name)
            else:
                found.take.add(name)
        else:
            found.send.add(name)
        if name in found.delete or (name in found.send and there is not None):
            found.outdated.add(name)
    return found


def differing(store: Store) -> list[str]:
    """Return in which a copy differs from its table, as sentences; the vectors are compared too.

    Raises
    ------
    LibraryUnreachable, LibraryError
    """
    origin = Origin.read(store.directory)
    table = Table(origin.address)
    identity, active = table.identity(), store.embeddings.active()
    if identity is None or active is None:
        raise absent(origin.address, pulled=origin.table is not None)
    theirs, mine, files = table.listing(), {}, {}
    rows = 0
    for name, document, file_id in named(store):
        mine[name], files[name] = document.digest(), file_id
        rows += len(document.rows)
    same = [name for name, digest in mine.items() if theirs.get(name) == digest]
    other = len(mine.keys() | theirs.keys()) - len(same)
    problems = []
    if other:
        problems.append(
            f"{other} files, folders or texts differ between the copy {store.directory} and {origin.address}; run "
            "`roco index`, which brings both together."
        )
    wrong = 0
    for document in table.documents(same, len(theirs), "file"):
        name = name_of(identity.salt, "file", document.path)
        contents = store.files.content(files[name], active)
        vectors = [row["vector"] for row in document.rows if "vector" in row]
        wrong += (
            document.digest() != mine[name]
            or len(contents) != len(vectors)
            or not all(
                np.allclose(np.frombuffer(content[-1], "<f4"), vector, atol=1e-5)
                for content, vector in zip(contents, vectors, strict=False)
            )
        )
    if wrong or (not other and table.count() != rows):
        problems.append(
            f"{wrong or 'Some'} files in {origin.address} do not have the vectors of the copy, or are there twice; "
            f"copy the library to a new address with `roco library copy {store.directory} ADDRESS`."
        )
    return problems
