"""What is being decoded at one time costs no more together than one picture may."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from roco_search.errors import UnreadableImage
from roco_search.imaging.costs import MAX_BYTES, check_cost, decoding

MEGABYTE = 10**6


class Meter:
    """How many bytes are used at one time, and the most that ever were."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def add(self, bytes_: int) -> None:
        with self.lock:
            self.now += bytes_
            self.most = max(self.most, self.now)


def test_threads_together_use_no_more_than_one_may() -> None:
    chance, meter = random.Random(0), Meter()
    jobs = [[chance.randrange(33, 860) * MEGABYTE for _ in range(chance.choice([1, 1, 2]))] for _ in range(300)]

    def decode(costs: list[int]) -> None:
        with decoding():
            held = 0
            for cost in costs:  # a header is read, then another part of the file: it is the larger that counts
                meter.add(-held)
                check_cost(cost)
                held = max(held, cost)
                meter.add(held)
            meter.add(-held)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decode, jobs))
    assert meter.now == 0
    assert max(cost for costs in jobs for cost in costs) <= meter.most <= MAX_BYTES


def test_small_pictures_wait_for_nobody_and_what_failed_is_given_back() -> None:
    began, ended = threading.Event(), threading.Event()

    def large() -> None:
        with pytest.raises(ZeroDivisionError), decoding():
            check_cost(MAX_BYTES)
            began.set()
            ended.wait(60)
            raise ZeroDivisionError

    thread = threading.Thread(target=large)
    thread.start()
    began.wait(60)
    with decoding():
        check_cost(20 * MEGABYTE)
    ended.set()
    with decoding():
        check_cost(MAX_BYTES)
    thread.join()
    check_cost(MAX_BYTES)  # outside of such a block nothing is counted
    with pytest.raises(UnreadableImage, match="at most 860 are used"):
        check_cost(MAX_BYTES + 1)
