"""A file is what it was or what it becomes, whatever fails and whenever the process is killed; locks; refusals."""

from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from roco_search.errors import Busy, InputError, RocoError, StorageFull
from roco_search.system import files
from roco_search.system.files import (
    locked,
    locked_folder,
    replacing,
    temporary_folder,
    temporary_name,
    write_errors,
    write_file,
)
from roco_search.system.process import is_alive
from tests.disk import files_up_to

DEAD = 999_999_999  # no system numbers its processes so high
CALLS = ("open", "close", "stat", "chmod", "fsync", "replace", "rename", "mkdir", "scandir", "pwrite", "ftruncate")
NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)


@contextmanager
def at_call(number: int, strike: Callable[[], None]) -> Iterator[list[str]]:
    """Run `strike` after the system call of this number, from 0; the list names the calls that were made."""
    made: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            made.append(name)
            result = (
                call(*given, **named) if name == "close" else None
            )  # a descriptor is closed even by a failing close
            if len(made) == number + 1:
                strike()
            return result if name == "close" else call(*given, **named)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        patch.setattr(io, "open", counted("io.open", io.open))
        yield made


def listed(folder: str | Path) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def fail() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_two_parts(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            with temporary.open("ab") as file:
                file.write(part)


@settings(max_examples=15)
@given(old=st.none() | st.binary(max_size=50), new=st.binary(min_size=1, max_size=50))
def test_any_system_call_may_fail(old: bytes | None, new: bytes) -> None:
    number, failed = 0, True
    while failed:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.json"
            if old is not None:
                path.write_bytes(old)
            with at_call(number, fail) as made:
                try:
                    in_two_parts(path, new)
                    raised = False
                except OSError:
                    raised = True
            found = path.read_bytes() if path.exists() else None
            assert found == (old if raised and "replace" not in made[:-1] else new), made
            assert listed(folder) == ([] if found is None else ["a.json"]), made
            number, failed = number + 1, len(made) > number
    assert number > 8, "each of these calls was made to fail once"


@pytest.fixture(scope="module")
def small_process() -> Iterator[ProcessPoolExecutor]:
    """A process that forks at once: one that runs thousands of tests has gigabytes to map anew in each child."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@settings(max_examples=5)
@given(old=st.none() | st.binary(max_size=50), new=st.binary(min_size=2, max_size=50))
def test_a_kill_at_any_point_leaves_the_old_or_the_new_and_the_next_writer_cleans_up(
    small_process: ProcessPoolExecutor, old: bytes | None, new: bytes
) -> None:
    assert small_process.submit(kill_at_each_call, old, new).result() > 2, (
        "some kills left a temporary file to clean up"
    )


def kill_at_each_call(old: bytes | None, new: bytes) -> int:
    """Kill a writer at its first system call, the next one at its second, and so on; count what they left behind."""
    number, killed, left_behind = 0, True, 0
    while killed:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.json"
            if old is not None:
                path.write_bytes(old)
            child = os.fork()
            if child == 0:
                with at_call(number, kill):
                    in_two_parts(path, new)
                os._exit(0)
            killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
            found = path.read_bytes() if path.exists() else None
            assert found in (old, new) if killed else found == new
            left_behind += len([name for name in listed(folder) if name != "a.json"])
            write_file(path, b"next")
            assert listed(folder) == ["a.json"] and path.read_bytes() == b"next"
            number += 1
    return left_behind


def test_an_exception_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), replacing(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise error
    assert listed(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_a_file_is_private_unless_its_writer_says_otherwise(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "private", b"")
        write_file(tmp_path / "published", b"", mode=0o644)
        write_file(tmp_path / "usual", b"", mode=None) if umask != 0o777 else None
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["private"] == 0o600 and modes["published"] == 0o644
    assert modes.get("usual", 0) == 0o666 & ~umask


@given(name=NAMES)
def test_a_temporary_name_fits_any_file_system_and_is_known_again(name: str) -> None:
    assume(len(os.fsencode(name)) <= 255)
    made = temporary_name(Path("folder") / name).name
    assert files.is_temporary(made) and made.startswith(".") and len(os.fsencode(made)) <= 255
    assert not files.is_temporary(name) or name.startswith(".")


@settings(max_examples=25)
@given(names=st.sets(NAMES, max_size=5), target=NAMES)
def test_only_what_dead_processes_left_is_swept(names: set[str], target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dead, alive, other = (
            f".{name}.tmp-00000000-{owner}" for name, owner in ((target, DEAD), (target, os.getpid()), ("else", DEAD))
        )
        assume(target != "else" and dead not in names)
        for name in {*names, dead, alive, other}:
            (Path(folder) / name).touch()
        there = set(listed(folder))
        files.sweep(Path(folder), target)
        assert set(listed(folder)) == there - {dead}
        files.sweep(Path(folder))
        assert set(listed(folder)) == there - {dead, other}


def test_what_has_not_changed_for_an_hour_is_swept_whatever_is_written(tmp_path: Path) -> None:
    old, fresh, alive = (f".b.tmp-0000000{n}-{owner}" for n, owner in enumerate((DEAD, DEAD, os.getpid())))
    for name in (old, fresh, alive):
        (tmp_path / name).touch()
    for name in (old, alive):
        os.utime(tmp_path / name, (0, time.time() - 4000))
    write_file(tmp_path / "a", b"")
    assert set(listed(tmp_path)) == {"a", fresh, alive}


def test_a_killed_process_that_nobody_asked_about_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert not is_alive(child) and is_alive(os.getpid())
    finally:
        os.waitpid(child, 0)


def test_what_is_created_never_takes_the_place_of_something(tmp_path: Path) -> None:
    with replacing(tmp_path / "a", overwrite=False) as made:
        made.write_bytes(b"whole")
    with pytest.raises(FileExistsError), replacing(tmp_path / "a", overwrite=False) as made:
        made.write_bytes(b"another")
    assert listed(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"whole"


def test_a_link_is_not_followed_when_sweeping(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    link = tmp_path / f".x.tmp-00000000-{DEAD}"
    link.symlink_to(tmp_path / "target")
    files.sweep(tmp_path)
    assert link.is_symlink() and (tmp_path / "target").is_dir()


def test_a_temporary_folder_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "x") as folder:
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").write_text("a")
    assert listed(tmp_path) == []


def test_a_folder_is_replaced_at_once_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    real, asked = os.replace, []

    def second_fails(source: Any, target: Any) -> None:
        asked.append(source)
        if len(asked) == 2:
            fail()
        real(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "replace", second_fails)
        files.replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "which").read_text() == "old"
    files.replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "which").read_text() == "new" and listed(tmp_path) == ["old"]


def _count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path.with_suffix(".lock"), wait=None):
            value = int(path.read_text())
            time.sleep(0.0005)
            path.write_text(str(value + 1))


def test_one_process_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count_up, args=(tmp_path / "count", 20)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "80"


def _hold(path: Path, ready: Any) -> None:
    with locked(path):
        ready.set()
        time.sleep(60)


def test_a_folder_that_is_gone_is_not_made_to_be_locked(tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(FileNotFoundError), locked_folder(tmp_path / "gone"):
        pass
    assert not listed(tmp_path)


def test_a_held_lock_is_refused_by_name_and_free_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=_hold, args=(path, ready))
    worker.start()
    assert ready.wait(30)
    with pytest.raises(
        Busy, match=f"^The shelf is in use by process {worker.pid}; wait until that has finished, or stop it.$"
    ):
        locked(path, "The shelf is in use").__enter__()
    worker.kill()
    worker.join()
    with locked(path, wait=5):
        assert path.read_text() == str(os.getpid())


@given(code=st.sampled_from(sorted(errno.errorcode)), place=NAMES)
def test_whatever_the_system_refuses_becomes_one_sentence(code: int, place: str) -> None:
    with pytest.raises(RocoError) as refused, write_errors(f"/x/{place}"):
        raise OSError(code, os.strerror(code), "/secret/Doe^Jane.dcm")
    full = code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    assert refused.type is (StorageFull if full else InputError)
    text = str(refused.value)
    assert f"/x/{place}" in text and "Doe" not in text and text.endswith((".", "place."))
    assert ("is full" if full else os.strerror(code)) in text


def test_real_refusals(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Not a directory"), write_errors(tmp_path / "file" / "a"):
        write_file(tmp_path / "file" / "a", "a")
    with (
        pytest.raises(InputError, match="create its folder, or name another place"),
        write_errors(tmp_path / "no" / "a"),
    ):
        write_file(tmp_path / "no" / "a", "a")
    with files_up_to(10), pytest.raises(StorageFull, match="is full, or a quota"), write_errors(tmp_path / "file"):
        write_file(tmp_path / "file", "longer than ten bytes")
    assert (tmp_path / "file").read_text() == "x" and listed(tmp_path) == ["file"]


def test_what_is_not_lost_is_said(tmp_path: Path) -> None:
    said = str(files.storage_full(tmp_path, "Nine of ten are kept."))
    assert said.startswith(f"The disk of {tmp_path} is full") and "Nine of ten are kept. Free some space" in said


@given(content=st.binary(max_size=300), offset=st.integers(0, 300))
def test_the_hash_is_of_the_rest_of_the_file(content: bytes, offset: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        assert files.sha256(Path(file.name), offset) == hashlib.sha256(content[offset:]).hexdigest()


def test_space_is_asked_of_the_disk_where_the_folder_will_be(tmp_path: Path) -> None:
    files.check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(StorageFull, match=r"1,000,000,000,000 MB are needed and [\d,]+ MB are free .* Buy a disk\."):
        files.check_space(tmp_path / "not" / "yet", 10**18, "Buy a disk.")
