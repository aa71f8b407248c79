"""Names that anybody may have chosen are shown and do nothing; sizes and durations are short and right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.system.text import duration, printable, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("head CT – Größe 3.png", "head CT – Größe 3.png"),
        ("a\x1b[31m\n", r"a\x1b[31m\n"),
        ("\udcff", r"\udcff"),
        ("left\u202eright", r"left\u202eright"),
        ("", ""),
    ],
)
def test_what_a_terminal_or_a_page_would_obey_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
    printable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1 KB"), (999_499, "999 KB"), (999_999, "1 MB"), (340_000_000, "340 MB"),
        (999_999_999, "1.0 GB"), (1_240_000_000, "1.2 GB"), (999_990_000_000, "1.0 TB"), (2_000_000_000_000, "2.0 TB"),
    ],
)  # fmt: skip
def test_a_size(count: int, shown: str) -> None:
    assert size(count) == shown


@given(st.integers(0, 10**15))
def test_a_size_is_right_to_two_digits_or_to_half_of_its_unit(count: int) -> None:
    number, unit = size(count).split()
    worth = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    assert abs(float(number) * worth - count) <= max(0.05 * count, worth / 2)
    assert float(number) < 1000 or unit == "TB"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (4800, "1 h 20 min")],
)
def test_a_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
