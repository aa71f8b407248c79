"""Damaged caches: a query answers as if nothing had happened, without anybody asking for a check."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.library import Library, Mode
from roco_search.library.directory import CACHES, FACTS, IDS, MATRIX, PREFILTER
from roco_search.library.vectors import prefilter
from roco_search.search import search
from roco_search.system import seals
from tests.library.toy import Opened, ToyEncoder, draw

IMAGES = 40
Damage = Callable[[bytearray], None]


def within(content: bytearray) -> int:
    """A place behind the page that most caches begin with, which is nearly empty."""
    return random.randrange(4096 if len(content) > 4096 else len(content) // 2, len(content))


def one_bit(content: bytearray) -> None:
    content[within(content)] ^= 1 << random.randrange(8)


def zeros(content: bytearray) -> None:
    start = within(content)
    content[start : start + 600] = bytes(len(content[start : start + 600]))


def exchanged(content: bytearray) -> None:
    """Exchange two stretches: a sum of the bytes would not show it."""
    half = len(content) // 2
    size = min(96, half // 2)
    content[half - size : half], content[-size:] = content[-size:], content[half - size : half]


def cut(content: bytearray) -> None:
    del content[-random.randrange(1, len(content)) :]


def nothing(content: bytearray) -> None:
    content.clear()


def other(content: bytearray) -> None:
    content[:] = random.randbytes(len(content))


def another_number(content: bytearray) -> None:
    places = [place for place, byte in enumerate(content) if byte in b"123456789"] or [0]
    content[random.choice(places)] = ord("7") if content[places[0]] != ord("7") else ord("8")


BYTES: tuple[Damage, ...] = (one_bit, zeros, exchanged, cut, nothing, other, another_number)


@pytest.fixture(scope="module", autouse=True)
def of_any_size() -> Iterator[None]:
    random.seed(20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefilter, "FROM", 1)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, of_any_size: None) -> tuple[Path, list[Any]]:
    """A library of which every cache was made, and what it answers."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(IMAGES):
        draw(folder / "scans" / f"{number:02}.png", number)
    with Opened(folder / "library", ToyEncoder()) as opened:
        opened.index(folder / "scans")
    right = answers(folder / "library")
    assert {path.name for path in (folder / "library").iterdir()} >= set(CACHES)
    return folder / "library", right


def answers(directory: Path) -> list[Any]:
    """What a process that opens the library finds: by all evidence, by the exact search, and by the graph."""
    encoder = ToyEncoder()
    with Library.open(directory) as library:
        hits = search(library, encoder, ["CT of the head"], n=IMAGES, group_by="none", fold=False)
        found: list[Any] = [(hit.path, hit.score, hit.relevance) for hit in hits]
        queries = encoder.encode_texts(["chest", "knee", "hand"])
        modes: tuple[Mode, ...] = ("exact", "approximate")
        for mode in modes:
            for query in queries:
                ids, scores = library.search(query[None], 7, mode)
                found += [*ids[0].tolist(), *scores[0].tolist()]
        found += library.embedded().tolist()
    return found


def in_its_place(path: Path) -> Iterator[Callable[[], object]]:
    """Ways to put something else into the place of a file, one after the other."""
    sound = path.read_bytes()

    def put(damage: Damage) -> None:
        content = bytearray(sound)
        damage(content)
        path.write_bytes(content)

    def put_quietly() -> None:
        """As a disk forgets: the times of the file say nothing."""
        before = path.stat()
        put(one_bit)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    yield from (partial(put, damage) for damage in BYTES)
    yield put_quietly
    yield path.unlink

    def replaced(by: Callable[[Path], object]) -> None:
        path.unlink()
        by(path)

    for by in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        yield partial(replaced, by)


@pytest.mark.parametrize("name", CACHES)
def test_whatever_happened_to_a_cache_the_answers_are_right(
    made: tuple[Path, list[Any]], tmp_path: Path, name: str
) -> None:
    whole, right = made
    for number in range(len(list(in_its_place(whole / name)))):
        copy = Path(shutil.copytree(whole, tmp_path / str(number)))
        list(in_its_place(copy / name))[number]()
        assert answers(copy) == right
    assert answers(copy) == right, "and with what was made anew"


@pytest.mark.parametrize("name", [IDS, MATRIX, FACTS, PREFILTER])
def test_a_large_cache_is_compared_whole_only_where_its_time_is_another(
    made: tuple[Path, list[Any]], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, right = Path(shutil.copytree(made[0], tmp_path / "copy")), made[1]
    monkeypatch.setattr(seals, "WHOLE", 0)
    monkeypatch.setattr(seals, "SAMPLE", 0)
    read: list[int] = []
    hashed = seals._hash

    def counting(content: np.ndarray, number: int) -> str:
        read.append(number)
        return hashed(content, number)

    monkeypatch.setattr(seals, "_hash", counting)
    monkeypatch.setattr(seals, "BLOCK", 256)
    (whole / "vectors.json").unlink()  # everything is made again, in blocks of that size
    (whole / "vectors.facts").unlink()
    answers(whole)
    path = whole / name
    blocks = -(-path.stat().st_size // 256)
    read.clear()
    assert answers(whole) == right
    assert len(read) <= 8 < blocks, "the last block of each file alone"
    content, before = bytearray(path.read_bytes()), path.stat().st_mtime_ns
    path.write_bytes(content)  # the same, written at another time
    assert answers(whole) == right and path.stat().st_mtime_ns == before, "it was compared, and is known again"
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    assert answers(whole) == right and path.stat().st_mtime_ns != before


def test_a_rotten_block_of_a_large_cache_is_found_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "BLOCK", 64)
    monkeypatch.setattr(seals, "WHOLE", 64)
    path = tmp_path / "cache"
    path.write_bytes(random.randbytes(64 * 40))
    seal = seals.Seal.put_on(path)
    assert all(seal.holds(path) for _ in range(20))
    content = bytearray(path.read_bytes())
    content[64 * 17] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(seal.stamp, seal.stamp))
    assert sum(not seal.holds(path) for _ in range(200)) in range(10, 90), "8 of 40 blocks each time"
