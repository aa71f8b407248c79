"""Names that anybody may have chosen are shown, and do nothing."""

from __future__ import annotations

import pytest

from roco_search.system.text import printable


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
