"""A shared library: what one changes, others see; whatever is refused, nothing is lost."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roco_search.cli import answer
from roco_search.daemon import warm
from roco_search.errors import (
    InputError,
    LibraryError,
    LibraryNotFound,
    LibraryTooNew,
    LibraryUnreachable,
    ModelMismatch,
)
from roco_search.library import Library
from roco_search.library.moving import copy_library
from roco_search.library.shared import copying, table
from roco_search.library.shared.comparing import compare
from roco_search.library.shared.documents import named, put
from roco_search.library.shared.table import Table
from roco_search.library.truth.store import Store
from roco_search.system import progress
from roco_search.system.folders import library_place
from roco_search.web.backend import Desk
from tests.library.shared.conftest import Place, checked
from tests.library.toy import ToyEncoder

EXAMPLES = Path(__file__).parents[3] / "roco_search" / "examples"
KINDS = ("x-ray", "mri", "ct", "ultrasound", "coronary", "fracture", "tumor", "red")
PLACES = ("chest", "of the brain", "knee", "with stenosis", "abdomen")
QUERIES = [f"{kind} {place}" for kind in KINDS for place in PLACES]


def draw(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        noise = np.random.default_rng(number).integers(0, 256, (20, 20), np.uint8)
        Image.fromarray(noise).save(folder / f"{folder.name}-{number}.png")
    return folder


def held(folder: Path) -> dict[bytes, bytes]:
    """The digest of every document of a library."""
    [copy] = folder.glob("*/library.db")
    store = Store.open(copy.parent)
    try:
        return {name: document.digest() for name, document, _ in named(store)}
    finally:
        store.close()


class TestEverybody:
    def test_sees_what_others_add_change_move_and_remove(self, place: Place, tmp_path: Path) -> None:
        scans = draw(tmp_path / "scans", 5)
        (scans / "scans-0.txt").write_text("effusion of Waldemar")
        anna = place.person("anna")
        assert place.index(scans, captions=True).indexed == 5
        bert = place.person("bert")
        assert len(place.paths()) == 5
        assert held(anna) == held(bert)
        with Library.open(place.address) as library:
            assert len(library.captions.matching("waldemar")) == 1
            assert library.verify().problems == []
            status = library.status().shared
        assert status is not None and status.address == place.address and status.pulled and not status.pending

        (scans / "scans-1.png").rename(scans / "moved.png")
        (scans / "scans-2.png").unlink()
        draw(scans, 1, first=3)
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(scans / "scans-4.png")
        report = place.index(scans)  # by Bert, who has not indexed it before
        assert (report.indexed, report.moved, report.removed) == (1, 1, 1)
        place.person("anna")
        assert place.paths() == ["moved.png", "scans-0.png", "scans-3.png", "scans-4.png"]
        assert held(anna) == held(bert)

    def test_sees_one_row_each_of_what_three_index_at_once(self, place: Place, tmp_path: Path) -> None:
        own = [draw(tmp_path / name, 6) for name in ("one", "two", "three")]
        both = draw(tmp_path / "both", 6)
        copies = []
        if "s3" in place.address:
            place.index(both)  # of two who make a table at one moment, one has to begin again there
        for folder in own:
            place.person(folder.name[:2])
            copies.append(library_place(place.address))

        def work(copy: str, folder: Path) -> None:
            with Library.create_or_open(copy) as library:
                library.index([folder, both], ToyEncoder())

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, copies, own))
        place.person("bert")
        paths = place.paths()
        assert len(paths) == len(set(paths)) == 3 * 6 + 6
        table = Table(place.address)
        assert table.identity()
        assert table.count() == 24 + 4  # and the roots
        with Library.open(place.address) as library:
            assert library.verify().problems == []

    def test_keeps_the_table_of_whoever_made_it_first(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.index(draw(tmp_path / "scans", 3))
        first = Table(place.address).identity()
        assert first is not None
        later = Table(place.address)
        answers = iter([None])  # it looks, there is none; by the time that it writes, there is
        monkeypatch.setattr(later, "identity", lambda: next(answers, Table.identity(later)))
        monkeypatch.setattr(later, "_database", Overwriting(later._database))
        assert later.create(replace(first, table="0" * 32)) == first
        place.person("bert")
        assert len(place.paths()) == 3


class Overwriting:
    """A database of LanceDB as it is when two make a table at one moment: the later one replaces the earlier."""

    def __init__(self, database: Any) -> None:
        self.database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    def create_table(self, *what: Any, **how: Any) -> Any:
        return self.database.create_table(*what, **how, mode="overwrite")


class TestPulling:
    def test_that_broke_off_takes_what_is_newer_and_what_is_gone_by_then(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scans = draw(tmp_path / "scans", 4)
        anna = place.person("anna")
        place.index(scans)
        bert = place.person("bert")
        stored: list[str] = []
        with monkeypatch.context() as broken:
            broken.setattr(copying, "AT_ONCE", 1)
            broken.setattr(copying, "put", lambda *what: broken_off(stored, *what))
            with pytest.raises(KeyboardInterrupt):
                Library.open(place.address)
        root, replaced, gone = stored
        assert root == str(scans)
        place.person("anna")
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(replaced)
        Path(gone).unlink()
        assert place.index(scans).indexed == 1
        place.person("bert")
        assert len(place.paths()) == 3
        place.person("anna")
        assert Path(gone).name not in place.paths()
        assert held(anna) == held(bert)

    def test_adds_what_is_new_to_the_matrix_and_says_how_far_it_is(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.index(draw(tmp_path / "scans", 3))
        bert = place.person("bert")
        told: list[tuple[str, int]] = []
        monkeypatch.setattr(progress, "LONG", 1)
        monkeypatch.setattr(progress, "_shows", lambda label: Told(label, told))
        place.paths()
        with Library.open(place.address) as library:
            library.vectors()
        assert told == [("Pulling the shared library", 4), ("", 1), ("", 3)]  # the root, and its files
        [matrix] = bert.glob("*/vectors.matrix")
        before = matrix.stat().st_ino
        place.person("anna")
        place.index(draw(tmp_path / "scans", 1, first=3))
        place.person("bert")
        with Library.open(place.address) as library:
            assert len(library.vectors().ids) == 4
            assert library.verify().problems == []
        assert matrix.stat().st_ino == before

    def test_goes_on_while_a_demo_runs(self, place: Place, tmp_path: Path) -> None:
        place.index(draw(tmp_path / "scans", 2))
        place.person("bert")
        with Desk(Path(library_place(place.address)), ToyEncoder(dim=24)) as desk:
            desk._fresh._every = 0.0
            place.person("anna")
            place.index(draw(tmp_path / "scans", 1, first=2))
            place.person("bert")
            while desk.status().frames < 3:
                desk._fresh.ask()
                time.sleep(0.05)


def broken_off(stored: list[str], store: Any, active: Any, documents: list[Any]) -> list[Any]:
    if len(stored) == 3:
        raise KeyboardInterrupt
    stored.extend(document.path for document in documents)
    return put(store, active, documents)


class Told:
    """A progress that writes down what it is told."""

    def __init__(self, label: str, told: list[tuple[str, int]]) -> None:
        self.label, self.told = label, told

    def start(self, total: int, done: int = 0) -> None:
        self.told.append((self.label, total))

    def advance(self, count: int, **_: float) -> None:
        self.told.append(("", count))

    def stop(self) -> None:
        pass


class TestRemoval:
    def test_leaves_no_word_behind_anywhere(self, place: Place, tmp_path: Path, request: Any) -> None:
        scans = draw(tmp_path / "scans", 3)
        (scans / "scans-0.txt").write_text("Waldemar Krause, effusion")
        place.index(scans, captions=True)
        bert = place.person("bert")
        place.paths()
        words = (b"Waldemar", b"waldemar", b"scans-0")
        assert any(word in content for content in stored(place, request) for word in words)
        place.person("anna")
        (scans / "scans-0.png").unlink()
        (scans / "scans-0.txt").unlink()
        with Library.open(place.address) as library:
            library.remove(scans / "scans-0.png")
            library.remove(scans / "scans-0.txt") if library.captions.any() else None
        assert not any(word in content for content in stored(place, request) for word in words)
        place.person("bert")
        assert place.paths() == ["scans-1.png", "scans-2.png"]
        for data in (bert, place.person("anna")):
            contents = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
            assert contents and not any(word in content for content in contents for word in words)


def stored(place: Place, request: Any) -> list[bytes]:
    """The bytes of every file of the table."""
    if "file://" in place.address:
        folder = Path(place.address.removeprefix("lance+file://"))
        return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    client = request.getfixturevalue("s3")
    prefix = place.address.removeprefix("lance+s3://scans/")
    found = client.list_objects_v2(Bucket="scans", Prefix=prefix)["Contents"]
    return [client.get_object(Bucket="scans", Key=entry["Key"])["Body"].read() for entry in found]


class TestCopying:
    def test_goes_both_ways_and_goes_on(self, place: Place, tmp_path: Path) -> None:
        local = tmp_path / "local"
        with Library.create_or_open(local) as library:
            library.index([draw(tmp_path / "scans", 4)], ToyEncoder())
        assert copy_library(local, place.address).target == place.address
        assert not copy_library(local, place.address).copied
        place.person("bert")
        copy_library(place.address, tmp_path / "back")
        assert not (tmp_path / "back" / "origin.json").exists()
        with Library.open(local) as one, Library.open(tmp_path / "back") as two:
            rows = [sorted((row.path, vector) for row, vector in it.frames.rows(it.active())) for it in (one, two)]
        assert rows[0] == rows[1]
        place.person("carl")
        for _ in range(2):  # he has no copy yet, and then one
            with pytest.raises(InputError, match="holds a library already"):
                copy_library(local, place.address)
            place.paths()


class TestRefusals:
    def test_another_model_is_one_sentence(self, place: Place, tmp_path: Path) -> None:
        scans = draw(tmp_path / "scans", 2)
        place.index(scans)
        with Library.create_or_open(place.address) as library:
            with pytest.raises(ModelMismatch, match="made with the model toy"):
                library.index([scans], ToyEncoder(seed=1, name="other"))
            with pytest.raises(InputError, match="keeps its model"):
                library.index([scans], ToyEncoder(seed=1, name="other"), reembed=True)
        assert len(place.paths()) == 2

    def test_nothing_there_yet_leaves_nothing_here(self, place: Place) -> None:
        with pytest.raises(LibraryNotFound, match="roco index PATH --library lance"):
            Library.open(place.address)
        assert list(place.person("anna").glob("*")) == []

    def test_a_newer_format(self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as newer:
            newer.setattr("roco_search.library.shared.table.FORMAT", 2)
            place.index(draw(tmp_path / "scans", 1))
        with pytest.raises(LibraryTooNew, match="pip install --upgrade"):
            place.index(tmp_path / "scans")

    @pytest.mark.parametrize("text", ["lance+ftp://a/b", "lance+file:", "lance+s3://k:secret@b/a", "lance+file:x"])
    def test_no_address(self, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        with pytest.raises(InputError) as refused:
            Library.open(text)
        assert "secret" not in str(refused.value)
        assert not any(tmp_path.iterdir())


class TestOutOfReach:
    def test_queries_are_answered_and_nothing_is_changed(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        scans = draw(tmp_path / "scans", 3)
        place.index(scans)
        cut(place, monkeypatch)
        assert len(place.paths()) == 3
        [said] = [record.getMessage() for record in caplog.records if record.name == "roco"]
        assert "can't be reached; answering from the copy of 20" in said
        draw(scans, 1, first=9)
        with pytest.raises(LibraryUnreachable):
            place.index(scans)
        assert len(place.paths()) == 3
        place.person("bert")
        with pytest.raises(LibraryUnreachable):
            place.paths()

    def test_what_was_done_when_it_was_lost_is_sent_by_the_next_run(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scans = draw(tmp_path / "scans", 2)
        place.index(scans)
        draw(scans, 2, first=5)
        with monkeypatch.context() as lost, Library.create_or_open(place.address) as library:
            lost.setattr(Table, "commit", lambda *_: refuse(place.address))
            with pytest.raises(LibraryUnreachable, match="kept in your copy"):
                library.index([scans], ToyEncoder())
        place.person("bert")
        assert len(place.paths()) == 2
        place.person("anna")
        assert place.index(scans).indexed == 0
        place.person("bert")
        assert len(place.paths()) == 4

    def test_sending_that_was_killed_goes_on_with_the_next_run(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scans = draw(tmp_path / "scans", 4)
        anna = place.person("anna")
        commit = Table.commit
        sent: list[object] = []

        def until_killed(table: Table, documents: Any, gone: Any = ()) -> None:
            if len(sent) == 3:
                raise KeyboardInterrupt
            sent.append(commit(table, documents, gone))

        with monkeypatch.context() as killed, Library.create_or_open(place.address) as library:
            killed.setattr(copying, "ROWS_IN_COMMIT", 1)
            killed.setattr(Table, "commit", until_killed)
            with pytest.raises(KeyboardInterrupt):
                library.index([scans], ToyEncoder())
        bert = place.person("bert")
        assert len(place.paths()) == 2  # after the folder
        place.person("anna")
        assert place.index(scans).indexed == 0
        place.person("bert")
        assert len(place.paths()) == 4
        assert held(anna) == held(bert)


def refuse(address: str) -> None:
    from roco_search.library.shared.faults import unreachable

    raise unreachable(address)


def cut(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmount the share, or take the network away."""
    if "file://" in place.address:
        share = Path(place.address.removeprefix("lance+file://")).parent
        share.rename(share.with_name("unmounted"))
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")


class TestBucket:
    @pytest.fixture(params=["s3"])
    def place(self, place: Place) -> Place:
        return place

    def test_that_does_not_exist(self, place: Place, tmp_path: Path) -> None:
        place.address = "lance+s3://no-such-bucket/scans"
        with pytest.raises(LibraryError, match="no bucket no-such-bucket"):
            place.index(draw(tmp_path / "scans", 1))

    def test_that_is_read_only(self, place: Place, tmp_path: Path, s3: Any) -> None:
        scans = draw(tmp_path / "scans", 2)
        place.index(scans)
        draw(scans, 1, first=7)
        denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::scans/*"}
        s3.put_bucket_policy(Bucket="scans", Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
        try:
            with pytest.raises(LibraryError, match="may not be written to by you"):
                place.index(scans)
            assert len(place.paths()) == 3  # the own copy answers
        finally:
            s3.delete_bucket_policy(Bucket="scans")
        place.index(scans)
        place.person("bert")
        assert len(place.paths()) == 3

    def test_without_credentials_asks_nobody_for_some(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "")  # to be taken back at the end
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(LibraryError, match="There are no credentials for"):
            place.paths()
        assert os.environ["AWS_EC2_METADATA_DISABLED"] == "true"
        monkeypatch.setattr("roco_search.library.shared.table._read", lambda _: "Amazon EC2")
        assert table._by_amazon()  # there, keys may come from the machine

    @pytest.mark.parametrize("wrong", ["an unknown key", "another's secret", "no rights"])
    def test_whose_credentials_are_wrong(
        self, place: Place, tmp_path: Path, s3: Any, users: dict[str, tuple[str, str]], wrong: str
    ) -> None:
        scans = draw(tmp_path / "scans", 2)
        place.index(scans)
        draw(scans, 1, first=5)
        with checked(s3):
            for person in ("anna", "bert"):
                place.person(person)
                key, secret = users[wrong]
                place.setenv("AWS_ACCESS_KEY_ID", key)
                place.setenv("AWS_SECRET_ACCESS_KEY", secret)
                for asks in (place.paths, lambda: place.index(scans)):
                    with pytest.raises(LibraryError) as refused:
                        asks()
                    text = str(refused.value)
                    assert "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in text and secret not in text
            key, secret = users["right"]
            place.setenv("AWS_ACCESS_KEY_ID", key)
            place.setenv("AWS_SECRET_ACCESS_KEY", secret)
            place.person("anna")
            assert place.index(scans).indexed == 1
            place.person("bert")
            assert len(place.paths()) == 3


digests = st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"1", b"2", b"3"]))


@given(digests, digests, digests)
def test_both_sides_become_equal_and_lose_nothing_that_one_has_changed(
    base: dict[bytes, bytes], mine: dict[bytes, bytes], theirs: dict[bytes, bytes]
) -> None:
    plan = compare(base, mine, theirs)
    here, there = dict(mine), dict(theirs)
    here.update({name: theirs[name] for name in plan.take})
    there.update({name: mine[name] for name in plan.send})
    here = {name: digest for name, digest in here.items() if name not in plan.forget}
    there = {name: digest for name, digest in there.items() if name not in plan.delete}
    assert here == there
    for side in (mine, theirs):
        assert all(name in here for name, digest in side.items() if base.get(name) != digest)
    assert plan.outdated == {name for name in theirs if there.get(name) != theirs[name]}


def test_forty_queries_have_one_answer_wherever_the_library_is(place: Place, local: tuple[Path, list[Any]]) -> None:
    copy_library(local[0], place.address)
    place.person("bert")  # what he has was pulled
    assert len(QUERIES) == 40
    assert asked(place.address) == local[1]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A library of real pictures by the embedded model, and what it answers."""
    pytest.importorskip("lancedb")
    from roco_search.models import load_encoder

    folder = tmp_path_factory.mktemp("local") / "library"
    with Library.create_or_open(folder) as library:
        library.index(sorted(EXAMPLES.glob("*.jpg"))[::4], load_encoder("roco-mini", "cpu", "fast"))
    return folder, asked(folder)


def asked(library: object) -> list[Any]:
    """What `roco query --json` prints for each of the queries; ids are a library's own."""
    kept = warm.Kept()  # the model is loaded once for all
    with pytest.MonkeyPatch.context() as process, closing(kept):
        process.setattr(warm, "_kept", kept)
        return [printed_hits(query, library) for query in QUERIES]


def printed_hits(query: str, library: object) -> list[Any]:
    with redirect_stdout(StringIO()) as printed:
        assert answer(["query", query, "--library", str(library), "--json", "--top", "5"]) == 0
    return [{key: value for key, value in hit.items() if key != "id"} for hit in json.loads(printed.getvalue())]
