"""A mirror in a real PostgreSQL holds what the library holds, finds what it finds, and says so only when that is so."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.errors import Busy, InputError, MirrorError
from roco_search.library import Library
from roco_search.mirror import Mirrored, mirror
from roco_search.mirror import postgresql as module
from roco_search.mirror.postgresql import PostgreSQL
from tests.library.toy import Builder, Opened, ToyEncoder, draw
from tests.mirror.conftest import Server

MANY, FEW = 2400, 300
RARE = 12  # rows that are half a percent of many


@contextmanager
def filled(folder: Path, rows: int) -> Iterator[Opened]:
    """Pictures of which twelve are mammograms, whose vectors are far from all queries but their own."""
    draw(folder / "scans" / "first.png", 0)
    with Opened(folder / "library", ToyEncoder()) as opened:
        opened.index(folder / "scans")
        vectors = np.random.default_rng(0).normal(size=(rows, 24)).astype(np.float32)
        vectors[:RARE] = -vectors[RARE : 2 * RARE].mean(axis=0) + 0.01 * vectors[:RARE]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with Builder.of(opened.directory) as builder:
            for number, vector in enumerate(vectors):
                term = "MG" if number < RARE else ("CT", "MR", "US")[number % 3]
                path = os.fsdecode(f"/scans/caf\xe9 '{number}\\.png".encode("latin-1"))
                builder.add(path, number + 1, [vector], modality=term, rows=512, localizer=number % 2 == 0 or None)
        yield opened


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with filled(tmp_path_factory.mktemp("many"), MANY) as opened:
        yield opened


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Opened]:
    with filled(tmp_path, FEW) as opened:
        yield opened


def texts() -> np.ndarray:
    words = ("chest", "knee", "MRI", "CT", "fracture", "normal", "film", "child")
    return ToyEncoder().encode_texts([f"{one} {two}" for one in words for two in words if one != two])


def mirrored(opened: Opened, server: Server, **options: Any) -> Mirrored:
    return mirror(opened.library, server.address(), texts, **options)


def ask(server: Server, sql: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(server.address(), autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return list(cursor) if cursor.description else []


def test_a_mirror_holds_every_row_and_finds_what_is_exact(many: Opened, server: Server) -> None:
    done = mirrored(many, server)
    assert (done.images, done.written, done.removed) == (MANY + 1, MANY + 1, 0)
    assert done.check.images >= 0.99 and done.check.texts >= 0.99
    rare = next(found for found in done.check.filters if found.where == "modality = MG")
    assert (rare.matching, rare.counted, rare.fewest, rare.texts) == (RARE, RARE, 10, 1.0)
    every = next(found for found in done.check.filters if found.where.startswith("id % 200 ="))
    assert (every.fewest, every.counted) == (10, every.matching)
    ids, paths, vectors = zip(*ask(server, "SELECT id, path, vector::real[] FROM roco ORDER BY id"), strict=True)
    np.testing.assert_array_equal(ids, many.library.embedded())
    np.testing.assert_allclose(np.array(vectors), many.library.embeddings(), atol=5e-4)
    assert paths[1] == "/scans/caf\\xe9 '0\\.png", "a byte that is no UTF-8 is written as an escape"
    again = mirrored(many, server)
    assert (again.written, again.removed, again.unchanged) == (0, 0, MANY + 1)


def test_a_mirror_that_finds_too_little_is_refused(
    many: Opened, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored(many, server)
    ask(server, "ALTER INDEX roco_vector SET (m = 2, ef_construction = 4); REINDEX INDEX roco_vector")
    monkeypatch.setattr(PostgreSQL, "efforts", (1,))
    with pytest.raises(MirrorError, match=r"not a good mirror: recall@10 is 0\.\d+ .*ALTER INDEX roco_vector SET \(m"):
        mirrored(many, server)
    assert '"good": false' in ask(server, "SELECT obj_description('roco'::regclass)")[0][0]


def test_what_changed_and_what_went_follow_and_nothing_else_is_written(few: Opened, server: Server) -> None:
    mirrored(few, server, table="following")
    before = dict(ask(server, "SELECT id, xmin::text FROM following"))
    ids = few.library.embedded()
    few.describe([int(ids[100])], modality="NM")
    few.execute(f"DELETE FROM vectors WHERE frame_id = {ids[200]}")
    ask(server, f"UPDATE following SET vector = (SELECT vector FROM following WHERE id = {ids[7]}) WHERE id = {ids[8]}")
    ask(server, f"DELETE FROM following WHERE id = {ids[9]}")
    done = mirrored(few, server, table="following")
    assert (done.written, done.removed, done.unchanged) == (3, 1, FEW - 3)
    after = dict(ask(server, "SELECT id, xmin::text FROM following"))
    assert {row for row in after if after[row] != before[row]} == {ids[100], ids[8], ids[9]}
    assert ids[200] not in after
    assert ask(server, f"SELECT modality FROM following WHERE id = {ids[100]}") == [("NM",)]
    first = few.directory.parent / "scans" / "first.png"
    one = mirrored(few, server, table="following", under=first, redact_paths=True)
    assert (one.images, one.written, one.removed) == (1, 1, FEW - 1)
    assert ask(server, "SELECT path FROM following") == [(few.library.path_hash(str(first)),)]


def test_a_run_that_is_broken_off_leaves_the_mirror_as_it_was(
    few: Opened, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 100)
    mirrored(few, server, table="kept")
    ask(server, "UPDATE kept SET modality = 'XX'")
    encode, calls = PostgreSQL.encode, 0

    def killed(self: PostgreSQL, vector: bytes) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 150:
            ask(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid() "
                        "AND backend_type = 'client backend'")  # fmt: skip
        return encode(self, vector)

    monkeypatch.setattr(PostgreSQL, "encode", killed)
    lost = r"^The connection to .* was lost; .* the mirror is as it was\. Run the same command again .*\.$"
    with pytest.raises(MirrorError, match=lost):
        mirrored(few, server, table="kept")
    assert ask(server, "SELECT DISTINCT modality FROM kept") == [("XX",)]
    calls = 0
    # What was being read is closed before the library is; pytest fails here for what is printed otherwise.
    with pytest.raises(MirrorError, match=lost), Library.open(few.directory) as opened:
        mirror(opened, server.address(), texts, table="begun")
    gc.collect()
    assert ask(server, "SELECT to_regclass('begun')") == [(None,)]
    assert mirrored(few, server, table="kept").written == FEW + 1


def test_a_mirror_that_is_not_what_was_written_is_refused(few: Opened, server: Server) -> None:
    mirrored(few, server, table="altered")
    meddle = "AS 'BEGIN NEW.modality := ''ZZ''; RETURN NEW; END'"
    ask(server, f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql {meddle}")
    ask(server, "CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON altered FOR EACH ROW EXECUTE FUNCTION meddle()")
    ask(server, "UPDATE altered SET frame = 1 WHERE id % 100 = 0")
    before = ask(server, "SELECT id, modality, frame FROM altered ORDER BY id")
    with pytest.raises(MirrorError, match=r"^3 rows of altered are not what was written, .* `table`\.$"):
        mirrored(few, server, table="altered")
    assert ask(server, "SELECT id, modality, frame FROM altered ORDER BY id") == before


def test_nothing_but_its_own_mirror_is_written_over(few: Opened, server: Server, tmp_path: Path) -> None:
    ask(server, "CREATE TABLE patients (id bigint PRIMARY KEY, name text)")
    ask(server, "INSERT INTO patients VALUES (1, 'Doe')")
    with pytest.raises(MirrorError, match=r"^patients exists and was not made by roco; choose another `table`\.$"):
        mirrored(few, server, table="patients")
    assert ask(server, "SELECT name FROM patients") == [("Doe",)]
    draw(tmp_path / "others" / "other.png", 5)
    with Opened(tmp_path / "other", ToyEncoder()) as other:
        other.index(tmp_path / "others")
        one = mirrored(other, server, table="one")
        assert (one.images, one.check.texts) == (1, 1.0)
        with pytest.raises(MirrorError, match=r"^one is the mirror of another library; choose another `table`\.$"):
            mirrored(few, server, table="one")
        other.reembed(ToyEncoder(seed=3, name="changed"))
        with pytest.raises(MirrorError, match=r"^one holds vectors of toy in fp32, .* changed .* choose another"):
            mirrored(other, server, table="one")


def test_each_thing_that_is_in_the_way_is_one_sentence(few: Opened, server: Server) -> None:
    import psycopg

    def refused(address: str, error: type[Exception], match: str, table: str = "shut") -> None:
        with pytest.raises(error, match=match) as raised:
            mirror(few.library, address, texts, table=table)
        assert "secret" not in str(raised.value) and "\n" not in str(raised.value)

    nobody = "postgresql://postgres@/mirrors?host=%2Fnowhere"
    refused(nobody, MirrorError, "cannot be used at .*No such file or directory; check the address, that the server")
    refused("postgresql://u@127.0.0.1:9/x", MirrorError, "Connection refused; check the address")
    refused(server.address("nothing"), MirrorError, 'database "nothing" does not exist; check the address')
    refused(server.address(role="stranger"), MirrorError, 'role "stranger" does not exist; check')
    refused("postgresql://u:secret@localhost/x", InputError, "holds a password, .* PGPASSWORD")
    refused("postgresql://u@localhost/x?password=secret", InputError, "holds a password, .* PGPASSWORD")
    refused("postgresql://u:secret@[/x", InputError, "cannot be read; write it as postgresql://USER@HOST/DATABASE")
    refused("mysql://localhost/x", InputError, "names no engine that roco writes to; begin it with postgresql://")
    refused(server.address("bare"), MirrorError, r"has no pgvector; .* CREATE EXTENSION vector")
    refused(server.address(), InputError, "is no name for a `table`", table='x"; DROP TABLE roco; --')
    mirrored(few, server, table="shut")
    ask(server, "GRANT SELECT ON shut TO reader")
    few.execute("UPDATE frames SET modality = 'CT'")
    refused(server.address(role="reader"), MirrorError, r"may not write, .* connect as a role that may")
    read_only = "&options=-c%20default_transaction_read_only%3Don"
    refused(server.address() + read_only, MirrorError, "is read-only, .* connect as a role that may", table="new")
    with psycopg.connect(server.address()) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('roco'), hashtext('shut'))")
        refused(server.address(), Busy, "^Another process is writing shut at .*; wait until it is done")
