"""The texts that belong to images: captions, and reports of their studies; each searchable in full.

A text follows its image: it is deleted with it, and found by its words with SQLite's full-text index (FTS5). Writing
runs inside the caller's `Store.transaction`.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from roco_search.errors import InputError, LibraryError
from roco_search.library.truth.connection import Connection, at_or_below, raw

Ids = npt.NDArray[np.int64]
Part = Literal["text", "affirmed"]
CAPTIONS_SINCE = 3  # the version of the schema

_TOKEN = re.compile(r'"([^"]*)"(\*?)|([()])|([^\s()"]+)')
_OPERATORS = frozenset({"AND", "OR", "NOT"})
# The frames of the captions and of the reports that an expression finds.
_OF_CAPTIONS = """
    SELECT frames.id FROM captions_fts JOIN captions ON captions.id = captions_fts.rowid
        JOIN frames ON frames.file_id = captions.file_id WHERE captions_fts MATCH ?
"""
_OF_REPORTS = """
    SELECT frames.id FROM captions_fts JOIN captions ON captions.id = captions_fts.rowid
        JOIN frames ON frames.study = captions.study WHERE captions_fts MATCH ? AND captions.study IS NOT NULL
"""


class TextFile(NamedTuple):
    """Where texts were read, as it was then."""

    id: int
    path: str
    size: int
    mtime_ns: int


class Text(NamedTuple):
    """A caption or a report.

    It is of the file `file_id`, which the text file calls `named`, a path; or of the `study` (a keyed hash), and
    `named` is empty. `affirmed` is the text without what is negated in it.
    """

    file_id: int | None
    study: str | None
    named: str
    text: str
    affirmed: str


class Captions:
    """Every text of a library."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Reading; a library of an earlier version has no texts.

    @property
    def _known(self) -> bool:
        return self._connection.version() >= CAPTIONS_SINCE

    def any(self) -> bool:
        """Whether there is any text."""
        return self._known and bool(self._connection.read("SELECT 1 FROM captions LIMIT 1"))

    def count(self) -> int:
        """Return the number of texts."""
        return int(self._connection.read("SELECT COUNT(*) FROM captions")[0][0]) if self._known else 0

    def matching(self, expression: str, part: Part = "text") -> Ids:
        """Return the ids of the frames of which a text matches, int64, ascending.

        Parameters
        ----------
        expression
            Words and "phrases", joined by AND, OR and NOT, in brackets if need be; ``effus*`` for a beginning. Words
            side by side must all occur. Case and accents do not matter.
        part
            The whole text, or only what is affirmed in it.

        Raises
        ------
        InputError
            If it is no such expression.
        """
        if not self._known:
            return np.empty(0, np.int64)
        # Bytes that are no text in the terminal's encoding come as half characters, which no caption holds.
        expression = expression.encode("utf-8", "replace").decode()
        wanted = f"{{{part}}} : ({_quoted(expression)})"
        reports = self._connection.read("SELECT 1 FROM captions WHERE study IS NOT NULL LIMIT 1")
        arms = [_OF_CAPTIONS, *([_OF_REPORTS] if reports else [])]
        sql = f"SELECT DISTINCT id FROM ({' UNION ALL '.join(arms)}) ORDER BY id"
        try:
            rows = self._connection.read(sql, [wanted] * len(arms))
        except LibraryError as error:
            if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                raise _no_expression(expression) from None
            raise
        return np.array([frame_id for (frame_id,) in rows], np.int64)

    def frame_count(self) -> int:
        """Return the number of frames that have a text."""
        if not self._known:
            return 0
        sql = """
            SELECT COUNT(*) FROM frames WHERE file_id IN (SELECT file_id FROM captions WHERE file_id IS NOT NULL)
            OR study IN (SELECT study FROM captions WHERE study IS NOT NULL)
        """
        return int(self._connection.read(sql)[0][0])

    def texts(self, ids: Iterable[int]) -> dict[int, list[str]]:
        """Return the texts of frames, by frame: captions first, then reports; frames without any are left out."""
        if not self._known:
            return {}
        sql = """
            SELECT frames.id, text, 0, captions.id FROM frames JOIN captions ON captions.file_id = frames.file_id
                WHERE frames.id IN (SELECT value FROM json_each(?))
            UNION ALL
            SELECT frames.id, text, 1, captions.id FROM frames JOIN captions ON captions.study = frames.study
                WHERE frames.id IN (SELECT value FROM json_each(?))
            ORDER BY 1, 3, 4
        """
        wanted = json.dumps([int(frame_id) for frame_id in ids])
        found: dict[int, list[str]] = {}
        for frame_id, text, *_ in self._connection.read(sql, [wanted, wanted]):
            texts = found.setdefault(frame_id, [])
            if text not in texts:
                texts.append(text)
        return found

    def known(self, words: Iterable[str]) -> set[str]:
        """Return those of some words, in small letters and without accents, that a text has."""
        if not self._known:
            return set()
        sql = "SELECT DISTINCT term FROM caption_words WHERE term IN (SELECT value FROM json_each(?))"
        return {word for (word,) in self._connection.read(sql, [json.dumps(list(words))])}

    def words(self) -> dict[str, int]:
        """Return every word of the texts, in small letters and without accents, with the number of texts that have it.

        It reads the whole full-text index: a tenth of a second for a million distinct words.
        """
        if not self._known:
            return {}
        return dict(self._connection.read("SELECT term, doc FROM caption_words WHERE col = 'text'"))

    # What the texts of an indexing run are compared with.

    def asked(self) -> dict[str, str]:
        """Return what was asked for with each root, by its path: see `roots.texts` in the schema."""
        return dict(self._connection.read("SELECT path, texts FROM roots"))

    def ask(self, choices: Mapping[str, str]) -> None:
        """Note what is asked for with roots that are stored."""
        rows = [(texts, raw(path)) for path, texts in choices.items()]
        self._connection.write_many("UPDATE roots SET texts = ? WHERE path = CAST(? AS TEXT)", rows)

    def text_files(self, folder: str) -> dict[str, TextFile]:
        """Return the text files at or below a folder, by path."""
        condition, parameters = at_or_below(folder)
        sql = f"SELECT id, path, size, mtime_ns FROM text_files WHERE {condition}"
        return {row[1]: TextFile(*row) for row in self._connection.read(sql, parameters)}

    def of_text_file(self, text_file_id: int) -> dict[int, Text]:
        """Return what was read from a text file, by id."""
        sql = "SELECT id, file_id, study, named, text, affirmed FROM captions WHERE text_file_id = ?"
        return {row[0]: Text(*row[1:]) for row in self._connection.read(sql, [text_file_id])}

    def everything(self) -> Iterator[tuple[Any, ...]]:
        """Yield path, size and mtime_ns of a text file, and the path of the file, study, name and both texts of a text.

        The texts of a text file follow one another, in the order in which they were read.
        """
        sql = """
            SELECT text_files.path, text_files.size, text_files.mtime_ns, files.path, study, named, text, affirmed
            FROM captions JOIN text_files ON text_files.id = text_file_id LEFT JOIN files ON files.id = file_id
            ORDER BY text_files.id, captions.id
        """
        return self._connection.stream(sql)

    # Writing.

    def record_text_file(self, path: str, size: int, mtime_ns: int) -> int:
        """Store a text file, or its new stat; return its id."""
        sql = """
            INSERT INTO text_files (path, size, mtime_ns) VALUES (CAST(? AS TEXT), ?, ?)
            ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns
        """
        self._connection.write(sql, [raw(path), size, mtime_ns])
        return int(self._connection.read("SELECT id FROM text_files WHERE path = CAST(? AS TEXT)", [raw(path)])[0][0])

    def add(self, text_file_id: int, texts: Iterable[Text]) -> None:
        """Store what was read from a text file."""
        sql = """
            INSERT INTO captions (text_file_id, file_id, study, named, text, affirmed)
            VALUES (?, ?, ?, CAST(? AS TEXT), ?, ?)
        """
        rows = [(text_file_id, text.file_id, text.study, raw(text.named), text.text, text.affirmed) for text in texts]
        self._connection.write_many(sql, rows)

    def delete(self, ids: Iterable[int]) -> None:
        """Delete texts."""
        self._connection.write_many("DELETE FROM captions WHERE id = ?", [(caption_id,) for caption_id in ids])

    def delete_text_files(self, ids: Iterable[int]) -> None:
        """Delete text files with all that was read from them."""
        self._connection.write_many("DELETE FROM text_files WHERE id = ?", [(file_id,) for file_id in ids])

    def any_below(self, folder: str) -> bool:
        """Whether texts were read at or below a folder."""
        condition, parameters = at_or_below(folder)
        return self._known and bool(
            self._connection.read(f"SELECT 1 FROM text_files WHERE {condition} LIMIT 1", parameters)
        )

    def forget(self, folder: str) -> None:
        """Delete all that was read at or below a folder."""
        if not self._known:
            return
        condition, parameters = at_or_below(folder)
        self._connection.write(f"DELETE FROM text_files WHERE {condition}", parameters)

    def rename(self, old: str, new: str) -> None:
        """Replace `old` by `new` at the beginning of every path at or below `old`."""
        if not self._known:
            return
        for table, column in (("text_files", "path"), ("captions", "named")):
            condition, parameters = at_or_below(old, column=column)
            rows = self._connection.read(f"SELECT id, {column} FROM {table} WHERE {condition}", parameters)
            renamed = [(raw(new + path[len(old) :]), row_id) for row_id, path in rows]
            self._connection.write_many(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE id = ?", renamed)

    def forget_traces(self) -> bool:
        """Remove what deleted texts left behind; return whether anything was deleted since the last time.

        FTS5 only notes that a word is gone. Merging its segments leaves such words out, and SQLite overwrites what the
        segments were (`secure_delete`). The words of what is kept are written anew: 0.4 s for 100,000 captions.
        """
        if not self._known:
            return False
        orphaned = "DELETE FROM text_files WHERE NOT EXISTS (SELECT 1 FROM captions WHERE text_file_id = text_files.id)"
        self._connection.write(orphaned)
        if not self._connection.read("SELECT 1 FROM settings WHERE key = 'traces_of_captions'"):
            return False
        self._connection.write("INSERT INTO captions_fts (captions_fts) VALUES ('optimize')")
        self._connection.write("DELETE FROM settings WHERE key = 'traces_of_captions'")
        return True


def _quoted(expression: str) -> str:
    """Return an expression with each word in quotes, as "x-ray" needs it, and AND where two conditions adjoin."""
    parts: list[str] = []
    for phrase, beginning, bracket, word in _TOKEN.findall(expression):
        if bracket == ")" or word in _OPERATORS:
            parts.append(bracket or word)
            continue
        if parts and parts[-1] not in {*_OPERATORS, "("}:
            parts.append("AND")
        if word:
            parts.append(f'"{word.rstrip("*")}"' + "*" * word.endswith("*"))
        else:
            parts.append(bracket or f'"{phrase}"{beginning}')
    return " ".join(parts)


def _no_expression(expression: str) -> InputError:
    return InputError(
        f"{expression!r} is no condition on words; write it as in '\"pleural effusion\" NOT resolved', with AND, OR, "
        "NOT and brackets between words and phrases in quotes."
    )
