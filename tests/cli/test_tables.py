"""The table drawer: every word is whole at every width, no line is wider than the terminal, and nothing is lost."""

from __future__ import annotations

import re
import string

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from roco_search.cli.tables import GAP, PathCell, Unbroken, draw_facts, draw_table
from roco_search.cli.terminal import cells, fold, link, shorten, wrap

patient = settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
LETTERS = string.ascii_letters + string.digits + "äß胸部é"
WORDS = st.text(LETTERS, min_size=1, max_size=14)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
NAMES = st.text(LETTERS + "_-.", min_size=1, max_size=70).filter(lambda name: name.strip("."))
PATHS = st.tuples(st.sampled_from(["", "/"]), st.lists(NAMES, min_size=1, max_size=6)).map(
    lambda parts: parts[0] + "/".join(parts[1])
)
WIDTHS = st.integers(60, 200)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str | PathCell]]]:
    kinds = draw(st.lists(st.sampled_from(["text", "number", "path"]), min_size=1, max_size=7))
    heads = [f"{draw(WORDS)}{number}" for number in range(len(kinds))]
    cell = {
        "text": TEXTS,
        "number": st.integers(0, 10**9).map(lambda number: Unbroken(f"{number} MB")),
        "path": st.tuples(PATHS, TEXTS).map(lambda pair: PathCell(pair[0], pair[0], pair[1])),
    }
    rows = draw(st.lists(st.tuples(*(cell[kind] for kind in kinds)).map(list), min_size=1, max_size=6))
    return heads, rows


def written(table: tuple[list[str], list[list[str | PathCell]]], width: int | None) -> list[str]:
    drawn = draw_table(*table, width=width)
    return [*drawn.head, *drawn.rows]


def words_of(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split()}


@patient
@given(tables(), WIDTHS)
@example((["a", "b"], [["word " * 30, PathCell("/one/" + "x" * 90, "/one/" + "x" * 90)]]), 60)
def test_no_line_is_wider_than_the_terminal(table: tuple[list[str], list[list[str | PathCell]]], width: int) -> None:
    assert all(cells(line) <= width and line == line.rstrip() for line in written(table, width))


@patient
@given(tables(), WIDTHS)
def test_every_word_is_whole(table: tuple[list[str], list[list[str | PathCell]]], width: int) -> None:
    shown = words_of(written(table, width))
    heads, rows = table
    used = [number for number, head in enumerate(heads) if any(row[number] not in ("", "–") for row in rows)]
    cells_shown = [row[number] for row in rows for number in used]
    texts = [cell.note if isinstance(cell, PathCell) else cell for cell in cells_shown]
    assert {word for text in texts for word in text.split()} - {"–"} <= shown
    # A list of facts has the heads too, save where the row has a name of its own.
    assert {heads[number] for number in used} <= shown


@patient
@given(tables(), WIDTHS)
def test_paths_are_whole_or_shortened_and_never_alike(
    table: tuple[list[str], list[list[str | PathCell]]], width: int
) -> None:
    text = "".join("".join(written(table, width)).split())
    paths = {cell.shown for row in table[1] for cell in row if isinstance(cell, PathCell)}
    for path in paths:
        if path in text:
            continue
        *_, name = path.split("/")
        assert "…" in text or name in text
        assert name[:1] in text


@patient
@given(tables())
def test_a_pipe_gets_a_line_a_row(table: tuple[list[str], list[list[str | PathCell]]]) -> None:
    lines = written(table, None)
    assert len(lines) == 1 + len(table[1])
    for row, line in zip(table[1], lines[1:], strict=True):
        assert all((cell.shown if isinstance(cell, PathCell) else cell) in line for cell in row if cell != "–")


@patient
@given(PATHS, st.integers(1, 120))
def test_a_path_is_shortened_in_its_middle(path: str, width: int) -> None:
    short = shorten(path, width)
    assert cells(short) <= width
    assert short == path or "…" in short
    *_, name = path.split("/")
    if cells(name) + 2 <= width and width >= 12:
        assert short.endswith(name), "the name of the file is kept whole where there is room"
    if short != path and width >= 12:
        assert short[-1] == path[-1]


@patient
@given(TEXTS, st.integers(1, 40))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cells(line) <= max(width, 2) for line in lines)
    assert [word for line in wrap(text, width, whole=True) for word in line.split()] == text.split()


def test_columns_line_up_and_numbers_are_set_to_the_right() -> None:
    rows = [("1", "0.5", "/a/b.png"), ("10", "0.25", "胸部 x")]
    drawn = draw_table(("#", "score", "image"), rows, right=("#", "score"))
    assert drawn.head == [" #  score  image"]
    assert drawn.rows == [" 1    0.5  /a/b.png", "10   0.25  胸部 x"]
    assert list(fold("", 5)) == [""] and cells("é") == cells("e\u0301") == 1


def test_a_column_that_holds_nothing_is_left_out() -> None:
    drawn = draw_table(("#", "body part", "image"), [("1", "–", "a.png"), ("2", "", "b.png")])
    assert drawn.head == ["#  image"]
    assert draw_table(("#", "image"), []).head == ["#  image"], "a table without rows says what it would hold"


def test_prose_goes_below_its_row_where_that_takes_fewer_lines() -> None:
    prose = "modality and body part of radiology images; small and quick; findings poorly"
    drawn = draw_table(("name", "size", "good at"), [("roco-mini-with-a-long-name", "54 MB", prose)] * 3, width=60)
    assert drawn.head[-1] == "    good at"
    assert drawn.rows[:2] == [
        "roco-mini-with-a-long-name  54 MB",
        "    modality and body part of radiology images; small and",
    ]


def test_a_row_becomes_a_list_where_columns_cannot_keep_words_whole() -> None:
    heads = ("accuracy", "sensitivity", "specificity", "prevalence", "thresholded")
    drawn = draw_table(heads, [tuple(f"{head}-{'x' * 9}" for head in heads)], width=60)
    assert drawn.head == []
    assert drawn.rows[0] == "accuracy       accuracy-xxxxxxxxx"
    assert drawn.rows[1] == "  sensitivity  sensitivity-xxxxxxxxx"


def test_paths_are_links_to_the_file_where_the_terminal_knows_them() -> None:
    path = PathCell("a b.png", "/scans/a b.png", "(does not exist now)")
    plain, linked = (draw_table(("image",), [(path,)], width=60, links=links).rows for links in (False, True))
    assert plain == ["a b.png  (does not exist now)"]
    assert re.fullmatch(
        r"\x1b\]8;;file://[^/]*/scans/a%20b\.png\x1b\\a b\.png\x1b\]8;;\x1b\\  \(does not exist now\)", linked[0]
    )
    assert link("x", "relative.png").count("file://") == 1 and "/relative.png" in link("x", "relative.png")


def test_names_that_a_shorter_path_could_not_tell_apart_are_printed_whole() -> None:
    names = [f"{'a' * 40}{middle}{'b' * 40}.dcm" for middle in "xy"]
    drawn = draw_table(("image", "reason"), [(PathCell(name, name), "w " * 20) for name in names], width=60)
    text = re.sub(r"image|reason|\bw\b|\s", "", "\n".join(drawn.rows))
    assert text == "".join(names)


def test_facts_are_wrapped_beside_their_names() -> None:
    lines = list(draw_facts([("library", "/x"), ("body parts", "HEAD 22, HIP 3, ABDOMEN 2")], width=30))
    assert [name + value for name, value in lines] == [
        "library     /x",
        "body parts  HEAD 22, HIP 3,",
        "            ABDOMEN 2",
    ]
    assert GAP == 2
