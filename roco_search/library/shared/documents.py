"""What a library holds as documents: the unit in which a copy and its shared library are compared and brought together.

A document is a root, a file with its frames and vectors, or a text file with its texts. It is whole or not there.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any, Literal

import numpy as np

from roco_search.imaging import Tags
from roco_search.library.truth.captions import Text
from roco_search.library.truth.connection import raw
from roco_search.library.truth.embeddings import EmbeddingSet
from roco_search.library.truth.files import FileRecord
from roco_search.library.truth.store import Store

Kind = Literal["root", "file", "text"]
Row = dict[str, Any]

KINDS: tuple[Kind, ...] = ("root", "file", "text")
"""In the order in which they are stored: a file belongs to a root, and a text to a file."""
_FILE = ("root", "size", "mtime_ns", "content_hash", "choice", "status", "reason", "case_key")
_GROUPS = {"series_uid": "series", "study_uid": "study"}  # what is stored of them: a keyed hash
_TAGS = {tag.name: _GROUPS.get(tag.name, tag.name) for tag in fields(Tags)}
_FRAME = ("number", "count", *_TAGS.values())


@dataclass(frozen=True, slots=True)
class Document:
    """A root, a file or a text file; `rows` are its rows in the table without their keys, in their order.

    The rows of a file have a "vector", float32 ``(dim,)``, if they are of a frame.
    """

    kind: Kind
    path: str
    rows: list[Row]

    def digest(self) -> bytes:
        """Return 16 bytes that are equal for equal documents.

        Vectors are left out: they follow from the content of the file, up to the last bits, which depend on the
        machine.
        """
        said = [{name: value for name, value in row.items() if name != "vector"} for row in self.rows]
        text = json.dumps([self.kind, raw(self.path).hex(), said], sort_keys=True, default=bytes.hex)
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def name_of(salt: str, kind: str, path: str) -> bytes:
    """Return 16 bytes that stand for a document, useless without the library's key."""
    return hashlib.blake2b(raw(path), key=bytes.fromhex(salt), digest_size=16, person=kind.encode()).digest()


def named(store: Store) -> Iterator[tuple[bytes, Document, int]]:
    """Yield all documents of a library with what stands for each, without vectors; and of a file its id, else 0."""
    salt = store.settings["salt"]
    asked = store.captions.asked()
    for root in store.files.roots():
        rows = [{"choice": root.frames, "asked": asked.get(root.path, "")}]
        yield name_of(salt, "root", root.path), Document("root", root.path, rows), 0
    frames = groupby(store.files.pictures(), key=lambda row: row[0])
    following = next(frames, None)
    for file_id, path, root_path, *said in store.files.everything():
        about = dict(zip(_FILE, [None if root_path is None else raw(root_path), *said], strict=True))
        rows = []
        if following is not None and following[0] == file_id:
            rows = [about | dict(zip(_FRAME, _typed(row[1:]), strict=True)) for row in following[1]]
            following = next(frames, None)
        yield name_of(salt, "file", path), Document("file", path, rows or [about]), file_id
    for (path, size, mtime_ns), texts in groupby(store.captions.everything(), key=lambda row: row[:3]):
        about = {"size": size, "mtime_ns": mtime_ns}
        rows = [
            about | {"of": None if of is None else raw(of), "study": study, "named": raw(name),
                     "text": text, "affirmed": affirmed}
            for *_, of, study, name, text, affirmed in texts
        ]  # fmt: skip
        yield name_of(salt, "text", path), Document("text", path, rows), 0


def _typed(values: Iterable[Any]) -> list[Any]:
    """Return what is stored of a frame with truth values as such, as `Tags` has them."""
    said = dict(zip(_FRAME, values, strict=True))
    flags = {name: None if said[name] is None else bool(said[name]) for name in ("burned_in", "localizer")}
    return list((said | flags).values())


def with_vectors(store: Store, active: EmbeddingSet, document: Document, file_id: int) -> Document:
    """Return a document with the vectors of its frames."""
    if document.kind == "file":
        contents = store.files.content(file_id, active)
        if contents:
            for row, (*_, vector) in zip(document.rows, contents, strict=True):
                row["vector"] = np.frombuffer(vector, "<f4")
    return document


def put(store: Store, active: EmbeddingSet, documents: Iterable[Document]) -> list[Document]:
    """Store documents, whose kinds come in order, in the place of what was known of them, inside a transaction.

    Return what was stored of those that could not be stored whole: a file that a text belongs to is not there yet.
    """
    ordered = list(documents)
    incomplete = []
    roots = [document for document in ordered if document.kind == "root"]
    store.files.record_roots({root.path: root.rows[0]["choice"] for root in roots})
    store.captions.ask({root.path: root.rows[0]["asked"] for root in roots})
    numbers = {raw(root.path): root.id for root in store.files.roots()}
    for document in ordered:
        if document.kind == "file":
            _put_file(store, active, document, numbers)
        elif document.kind == "text":
            stored = _put_texts(store, document)
            if len(stored.rows) < len(document.rows):
                incomplete.append(stored)
    return incomplete


def _put_file(store: Store, active: EmbeddingSet, document: Document, roots: dict[bytes, int]) -> None:
    about = document.rows[0]
    record = FileRecord(
        path=document.path,
        root_id=roots.get(about["root"]),
        size=about["size"],
        mtime_ns=about["mtime_ns"],
        content_hash=about["content_hash"],
        frames=about["choice"],
        status=about["status"],
        reason=about["reason"],
    )
    if (known := store.files.at(document.path)) is None:
        file_id = store.files.add(record)
    else:
        file_id = known.id
        store.files.replace(file_id, record)
    if known is not None or about["case_key"] is not None:
        store.files.set_cases([(about["case_key"], file_id)])
    for row in document.rows:
        if row.get("vector") is not None:
            tags = Tags(**{tag: row[name] for tag, name in _TAGS.items()})
            frame_id = store.files.add_frame(file_id, row["number"], row["count"], tags, keyed=True)
            store.embeddings.add(active, frame_id, row["vector"])


def _put_texts(store: Store, document: Document) -> Document:
    if known := store.captions.text_files(document.path).get(document.path):
        store.captions.delete_text_files([known.id])
    about = document.rows[0]
    number = store.captions.record_text_file(document.path, about["size"], about["mtime_ns"])
    texts, rows = [], []
    for row in document.rows:
        file = None if row["of"] is None else store.files.at(os.fsdecode(row["of"]))
        if row["of"] is None or file is not None:
            named_as = os.fsdecode(row["named"])
            texts.append(Text(file and file.id, row["study"], named_as, row["text"], row["affirmed"]))
            rows.append(row)
    store.captions.add(number, texts)
    return Document("text", document.path, rows)


def drop(store: Store, names: set[bytes]) -> None:
    """Delete the documents that some names stand for, inside a transaction."""
    salt = store.settings["salt"]
    files = [file_id for file_id, path, *_ in store.files.everything() if name_of(salt, "file", path) in names]
    store.files.delete(files)
    store.files.forget_roots([r.path for r in store.files.roots() if name_of(salt, "root", r.path) in names])
    texts = store.captions.text_files("/")
    store.captions.delete_text_files([t.id for t in texts.values() if name_of(salt, "text", t.path) in names])
