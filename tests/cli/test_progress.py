"""The one bar: on a terminal only, with the figures that were asked for; elsewhere a line now and then, or nothing."""

from __future__ import annotations

import io
import sys

import pytest

from roco_search.cli.progress import ProgressBar
from roco_search.system.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def drawn(bar: ProgressBar, monkeypatch: pytest.MonkeyPatch, **figures: float) -> str:
    """What the terminal shows while 30 of 100 are done."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("roco_search.cli.progress._SETTLED_S", -1)
    told: Progress = bar
    told.start(100_000, 10_000)
    told.advance(20_000, **figures)
    if bar._bar is not None:
        bar._bar.refresh()
    told.stop()
    return terminal.getvalue()


def test_a_terminal_gets_a_bar_with_the_figures_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(ProgressBar("Indexing"), monkeypatch, images_per_second=12.34, loss=0.5)
    assert "Indexing" in shown and "30000/100000" in shown and "12.3 images/s" in shown and "loss" not in shown
    shown = drawn(ProgressBar("Training", figures=("loss", "pairs_per_second")), monkeypatch, loss=0.5)
    assert "loss 0.500" in shown and "pairs/s" not in shown


def test_bytes_are_shown_as_a_size_with_their_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(ProgressBar("Fetching clip", counts_bytes=True), monkeypatch)
    assert "Fetching clip" in shown and "30.0/100.0 kB" in shown


def test_nothing_is_drawn_when_quiet_or_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawn(ProgressBar("Indexing", quiet=True), monkeypatch, images_per_second=1.0) == ""
    monkeypatch.undo()
    bar = ProgressBar("Indexing")
    bar.start(10)
    bar.advance(5)
    bar.say("Not readable: a.dcm")
    bar.stop()
    assert capsys.readouterr().err == "Not readable: a.dcm\n"
    quiet = ProgressBar("Indexing", quiet=True)
    quiet.say("nothing")
    assert capsys.readouterr().err == ""


def test_a_long_run_prints_a_line_every_half_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("Training", figures=("loss", "pairs_per_second"), unit="step")
    bar.start(1_000, 100)
    for _ in range(7):
        clock[0] += 10
        bar.advance(1, loss=0.25, pairs_per_second=3.0, learning_rate=1.0)
    bar.stop()
    assert capsys.readouterr().err.splitlines() == [
        "step 104 of 1,000  loss 0.250  3.0 pairs/s  2 h 29 min left",
    ]
