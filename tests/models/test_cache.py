"""A fingerprint is computed once, and again as soon as a file has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roco_search.models.cache import cache_directory, remembered


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "weights"):
        (folder / name).write_text(name)
    return folder


class Counted:
    """Counts how often it hashes."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"hash {self.times}"


def ask(folder: Path, compute: Counted, monkeypatch: pytest.MonkeyPatch, later: int = 10) -> str:
    files = [folder / name for name in ("config.json", "weights", "absent")]
    newest = max(file.stat().st_ctime_ns for file in files if file.exists())
    monkeypatch.setattr("roco_search.models.cache.time.time_ns", lambda: newest + later * 10**9)
    return remembered(folder, files, compute)


def test_it_is_hashed_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Counted()
    assert {ask(model, compute, monkeypatch) for _ in range(3)} == {"hash 1"}
    assert (cache_directory() / "fingerprints.json").stat().st_mode & 0o777 == 0o600


def test_a_change_of_content_alone_is_seen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, weights = Counted(), model / "weights"
    ask(model, compute, monkeypatch)
    before = weights.stat()
    weights.write_text("WEIGHTS")  # as long as it was
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # and with the old time
    assert ask(model, compute, monkeypatch) == "hash 2"
    (model / "absent").write_text("now here")
    assert ask(model, compute, monkeypatch) == "hash 3"


def test_what_was_just_written_is_not_remembered(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Counted()
    assert [ask(model, compute, monkeypatch, later=1) for _ in range(2)] == ["hash 1", "hash 2"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_memory_is_none(model: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    cache_directory().mkdir(parents=True)
    (cache_directory() / "fingerprints.json").write_text(content)
    assert ask(model, Counted(), monkeypatch) == "hash 1"


def test_a_damaged_hash_is_not_believed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, place = Counted(), cache_directory() / "fingerprints.json"
    ask(model, compute, monkeypatch)
    place.write_text(place.read_text().replace("hash 1", "hash 9"))
    assert ask(model, compute, monkeypatch) == "hash 2"
    place.unlink()
    os.mkfifo(place)
    assert ask(model, compute, monkeypatch) == "hash 3", "and a pipe is not waited for"
