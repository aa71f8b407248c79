"""A run is followed from its start to its end, however that comes."""

from __future__ import annotations

import pytest

from roco_search.system.progress import Pace, Progress, Silent, following
from tests.meter import Meter


def test_it_stops_when_the_block_ends() -> None:
    meter = Meter()
    with following(meter, 10, 3) as told:
        told.advance(2, loss=0.5)
        told.advance(-1)
        assert not meter.stopped
    assert (meter.total, meter.done, meter.stopped) == (10, 4, True)
    assert meter.figures == [{"loss": 0.5}, {}]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_stops_when_the_block_fails(error: type[BaseException]) -> None:
    meter = Meter()
    with pytest.raises(error), following(meter, 1):
        raise error
    assert meter.stopped


def test_nobody_need_follow() -> None:
    nobody: Progress = Silent()
    for progress in (None, nobody):
        with following(progress, 1) as told:
            told.advance(1)


def test_the_pace_is_of_all_that_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = Pace()
    now[0] += 2
    assert pace.add(10) == 5
    now[0] += 2
    assert pace.add(10) == 5
    assert Pace().add(0) == 0
