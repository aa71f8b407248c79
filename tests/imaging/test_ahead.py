"""Read ahead: in order, within bounds, every failure in its own place, and no thread left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.errors import ImageError, InputError, NotAnImage, UnreadableImage
from roco_search.imaging.ahead import in_batches, nbytes, read_ahead

SECRET = "Zebediah^Quuxington"
REPOSITORY = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Scan:
    """What reading one item does: pieces of these sizes, each after a while, and then a failure or none."""

    sizes: tuple[int, ...]
    failure: Exception | None = None
    delay: float = 0.0


FAILURES = st.sampled_from(
    [None, None, None, UnreadableImage("cut short; copy it again"), ValueError(SECRET), MemoryError(SECRET)]
)
SCANS = st.builds(
    Scan,
    st.lists(st.integers(0, 40), max_size=4).map(tuple),
    FAILURES,
    st.sampled_from([0.0, 0.0, 0.001, 0.003]),
)


@dataclass
class Counting:
    """Reads scans; knows how many bytes were read and not yet taken, and which items were begun."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    read: int = 0
    begun: int = 0
    closed: int = 0

    def __call__(self, numbered: tuple[int, Scan]) -> Iterator[np.ndarray]:
        number, scan = numbered
        with self.lock:
            self.begun += 1
        try:
            for place, size in enumerate(scan.sizes):
                time.sleep(scan.delay)
                with self.lock:
                    self.read += size
                yield np.full(size, (7 * number + place) % 256, np.uint8)
            if scan.failure is not None:
                raise scan.failure
        finally:
            with self.lock:
                self.closed += 1


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("roco-read")]


def expected(scans: list[Scan]) -> list[tuple[int, object]]:
    found: list[tuple[int, object]] = []
    for number, scan in enumerate(scans):
        found += [(number, [(7 * number + place) % 256] * size) for place, size in enumerate(scan.sizes)]
        if scan.failure is not None:
            found.append((number, "failure"))
    return found


@settings(max_examples=40)
@given(
    scans=st.lists(SCANS, max_size=25),
    ahead=st.integers(0, 6),
    limit=st.sampled_from([1, 30, 10**6]),
    threads=st.integers(1, 5),
)
def test_the_results_are_those_of_reading_one_after_the_other(
    scans: list[Scan], ahead: int, limit: int, threads: int
) -> None:
    read = Counting()
    taken = 0
    found: list[tuple[int, object]] = []
    begun_early = waiting = 0
    with closing(read_ahead(enumerate(scans), read, ahead=ahead, max_bytes=limit, threads=threads)) as entries:
        for (number, scan), piece in entries:
            taken += nbytes(piece)
            with read.lock:
                begun_early = max(begun_early, read.begun - number - 1)
                waiting = max(waiting, read.read - taken)
            if isinstance(piece, ImageError):
                found.append((number, "failure"))
                assert (piece is scan.failure) == isinstance(scan.failure, ImageError)
                assert SECRET not in f"{piece!r} {piece.__cause__} {piece.__context__}"
            else:
                found.append((number, piece.tolist()))
    assert found == expected(scans)
    assert begun_early <= ahead
    # The limit, one piece of the item whose turn it is, and what each thread has just read.
    assert waiting <= limit + (threads + 1) * 40
    assert read.closed == read.begun and readers() == []


@settings(max_examples=20)
@given(
    scans=st.lists(SCANS, min_size=1, max_size=25), leave_after=st.integers(1, 10), limit=st.sampled_from([1, 10**6])
)
def test_leaving_early_ends_every_thread_and_every_reading(scans: list[Scan], leave_after: int, limit: int) -> None:
    read = Counting()
    with closing(read_ahead(enumerate(scans), read, ahead=5, max_bytes=limit, threads=3)) as entries:
        for count, _ in enumerate(entries, 1):
            if count == leave_after:
                break
    assert readers() == []
    assert read.closed == read.begun, "a file that is open in the middle of a cine loop is closed"


def test_an_exception_of_the_consumer_ends_every_thread() -> None:
    def consume() -> None:
        for _ in read_ahead(enumerate([Scan((5,) * 50)] * 20), Counting(), max_bytes=20):
            raise KeyError("the consumer's own")

    with pytest.raises(KeyError):
        consume()
    assert readers() == []


def test_an_exception_of_the_items_reaches_the_consumer_and_ends_every_thread() -> None:
    def items() -> Iterator[tuple[int, Scan]]:
        yield from enumerate([Scan((5,))] * 10)
        raise OSError("the walk")

    with pytest.raises(OSError, match="the walk"):
        list(read_ahead(items(), Counting(), ahead=2))
    assert readers() == []


def test_a_file_larger_than_memory_passes_through_piece_by_piece() -> None:
    read = Counting()
    taken = most = 0
    for _, piece in read_ahead(enumerate([Scan((40,) * 500)]), read, max_bytes=100):
        taken += nbytes(piece)
        most = max(most, read.read - taken)
    assert taken == 500 * 40 and most <= 100 + 2 * 40


def test_what_is_not_about_one_image_is_raised_in_its_turn() -> None:
    scans = [Scan((1,)), Scan((1,), NotAnImage("a report")), Scan((1,), InputError("frames must be ...")), Scan((1,))]
    seen: list[int] = []
    with pytest.raises(InputError, match="frames must be"):
        for (number, _), _piece in read_ahead(enumerate(scans), Counting()):
            seen.append(number)
    assert seen == [0, 1, 1, 2]
    assert readers() == []


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (UnreadableImage("cut short; copy it again"), "cut short; copy it again"),
        (MemoryError(SECRET), "there is not enough memory to decode it; close other programs or make it smaller"),
        (KeyError(SECRET), "reading it failed (KeyError); try again"),
    ],
)
def test_a_failure_is_one_sentence_in_our_own_words(failure: Exception, says: str) -> None:
    ((_, found),) = read_ahead(enumerate([Scan((), failure)]), Counting())
    assert isinstance(found, ImageError) and str(found) == says
    assert found.__traceback__ is None, "the frames of a decoder hold the header"


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(0, 10), max_size=60), most=st.integers(1, 5), limit=st.sampled_from([1, 20, 10**6]))
def test_batches_hold_everything_in_order_within_their_bounds(sizes: list[int], most: int, limit: int) -> None:
    entries = [(number, np.zeros(size, np.uint8)) for number, size in enumerate(sizes)]
    batches = list(in_batches(entries, most, limit))
    assert [entry for batch in batches for entry in batch] == entries
    for batch in batches:
        held = [nbytes(piece) for _, piece in batch]
        assert batch and sum(size > 0 for size in held) <= most
        assert sum(held[:-1]) < limit, "only the last picture may lead over the limit"
        assert len(batch) <= 8 * most, "progress is seen even where nothing is a picture"


INTERRUPTED = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from roco_search.imaging.ahead import read_ahead

def read(number):
    while True:
        time.sleep(0.01)
        yield np.zeros(1000, np.uint8)

def slow(number):
    time.sleep(0.2)
    yield from read(number)

try:
    for number, piece in read_ahead(range(50), {"read": read, "slow": slow}[sys.argv[2]], max_bytes=5000):
        if number == 0 and threading.active_count() > 1:
            print("reading", flush=True)
except KeyboardInterrupt:
    print("left", [t.name for t in threading.enumerate() if t.name.startswith("roco-read")], flush=True)
"""


@pytest.mark.parametrize("kind", ["read", "slow"])
def test_ctrl_c_ends_every_thread(kind: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, REPOSITORY, kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "reading\n"
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert said.splitlines()[-1] == "left []"
    assert process.returncode == 0


def test_reading_goes_on_together_and_while_the_consumer_works() -> None:
    together = threading.Barrier(4, timeout=20)
    begun = [threading.Event() for _ in range(8)]

    def read(number: int) -> Iterator[int]:
        begun[number].set()
        together.wait()
        yield number

    for number, piece in read_ahead(range(8), read, threads=4):
        assert piece == number
        assert begun[min(number + 4, 7)].wait(20), "the threads do not wait for the consumer to come back"


def test_it_works_outside_the_main_thread() -> None:
    found: list[int] = []

    def work() -> None:
        found.extend(number for (number, _), _ in read_ahead(enumerate([Scan((1,))] * 5), Counting()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert found == [0, 1, 2, 3, 4] and readers() == []
