"""Rows that roco never wrote: the library says in one sentence that it is damaged, whatever asks it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.curation.duplicates import find_duplicates
from roco_search.errors import LibraryCorrupt, RocoError
from roco_search.library import Library
from roco_search.library.directory import CACHES
from roco_search.library.truth.soundness import _RULES
from roco_search.search import search
from tests.library.toy import Opened, ToyEncoder, connect, draw

NOT_A_NUMBER = np.full(24, np.nan, "<f4").tobytes().hex()
FAR = np.full(24, 50, "<f4").tobytes().hex()
FORGERIES = [
    "UPDATE files SET path = CAST(x'00ff' AS TEXT) WHERE id = 2",
    "UPDATE files SET path = x'2f61' WHERE id = 2",
    "UPDATE files SET path = '' WHERE id = 2",
    "UPDATE files SET path = '../../etc/passwd' WHERE id = 2",
    "UPDATE files SET size = 'many' WHERE id = 2",
    "UPDATE files SET mtime_ns = 1e300 WHERE id = 2",
    "UPDATE files SET content_hash = 'text' WHERE id = 2",
    "UPDATE frames SET number = 'two' WHERE id = 2",
    "UPDATE frames SET count = -3 WHERE id = 2",
    "UPDATE frames SET modality = x'ff' WHERE id = 2",
    "UPDATE frames SET series = x'ff00' WHERE id = 2",
    "UPDATE frames SET instance_number = 'text' WHERE id = 2",
    "DELETE FROM frames WHERE id = 2",
    "DELETE FROM files WHERE id = 2",
    "UPDATE vectors SET vector = 'text' WHERE id = 2",
    "UPDATE vectors SET vector = 7 WHERE id = 2",
    "UPDATE vectors SET vector = x'00' WHERE id = 2",
    f"UPDATE vectors SET vector = x'{NOT_A_NUMBER}' WHERE id = 2",
    f"UPDATE vectors SET vector = x'{FAR}' WHERE id = 2",
    "UPDATE vectors SET frame_id = 99 WHERE id = 2",
    "UPDATE embedding_sets SET dim = 'wide'",
    "UPDATE embedding_sets SET dim = -24",
    "UPDATE embedding_sets SET dim = 0",
    "UPDATE embedding_sets SET count = 2",
    "UPDATE embedding_sets SET count = 1000000000000",
    "UPDATE embedding_sets SET count = 'all'",
    "UPDATE embedding_sets SET logit_scale = 'steep'",
    "UPDATE settings SET value = x'00' WHERE key = 'salt'",
    "DELETE FROM settings",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forged")
    for number in range(6):
        draw(folder / "scans" / f"{number}.png", number)
    with Opened(folder / "library", ToyEncoder()) as opened:
        opened.index(folder / "scans")
    return folder / "library"


def forge(directory: Path, sql: str) -> None:
    """As another program would, without triggers and references."""
    with closing(connect(directory)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DROP TRIGGER IF EXISTS vectors_are_immutable")
        connection.execute(sql)
    for name in CACHES:
        (directory / name).unlink(missing_ok=True)


QUESTIONS: list[Callable[[Library], Any]] = [
    lambda library: search(library, ToyEncoder(), ["CT of the head"], n=6, guess=False),
    lambda library: search(library, ToyEncoder(), ["chest"], n=6, cosine=True, group_by="none", fold=False),
    lambda library: library.search(ToyEncoder().encode_texts(["chest"]), 3, "approximate"),
    find_duplicates,
    lambda library: library.status(),
    lambda library: list(library.frames.rows(library.active())),
]


@pytest.mark.parametrize("sql", FORGERIES)
def test_forged_rows_end_in_one_sentence(made: Path, tmp_path: Path, sql: str) -> None:
    directory = Path(shutil.copytree(made, tmp_path / "library"))
    forge(directory, sql)
    for question in QUESTIONS:
        try:
            with Library.open(directory) as library:
                question(library)
        except RocoError as error:
            assert "is damaged" in str(error)
    with suppress(LibraryCorrupt), Library.open(directory) as library:
        assert library.verify().problems


def test_every_column_has_its_rule(made: Path) -> None:
    """Apart from keys and references, which SQLite compares itself."""
    own = {"id", "key", "root_id", "file_id", "set_id", "frame_id", "text_file_id", "status", "state"}
    with closing(connect(made)) as connection:
        for table, rules in _RULES.items():
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            assert columns - own == set(rules), table


def test_a_fault_of_a_sound_library_stays_what_it_is(made: Path) -> None:
    with pytest.raises(ValueError, match="mine"), Library.open(made):
        raise ValueError("mine")
