"""Tables are read whole, or the line that is damaged is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roco_search.datasets.tables import read_table
from roco_search.errors import InputError
from tests.datasets.drawing import write_csv, write_lines


def test_json_lines(tmp_path: Path) -> None:
    table = read_table(write_lines(tmp_path / "a.jsonl", [{"a": 1}, "", {"b": ["x"], "a": "\u2028"}]))
    assert table.columns == ["a", "b"]
    assert table.rows == [(1, {"a": 1}), (3, {"b": ["x"], "a": "\u2028"})]


@pytest.mark.parametrize(
    ("suffix", "delimiter"), [("csv", ","), ("csv", "\t"), ("csv", ";"), ("csv", "|"), ("tsv", "\t")]
)
def test_csv_whatever_separates_its_cells(tmp_path: Path, suffix: str, delimiter: str) -> None:
    rows = [["a.png", 'of "two",\nlines; here'], ["b.png", ""]]
    table = read_table(write_csv(tmp_path / f"a.{suffix}", [" path", "title "], rows, delimiter))
    assert table.columns == ["path", "title"]
    assert [list(cells.values()) for _, cells in table.rows] == rows
    assert [line for line, _ in table.rows] == [2, 4]


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x", None], "b": [[1], []]}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").rows == [(1, {"a": "x", "b": [1]}), (2, {"a": None, "b": []})]


def test_separators_at_the_end_of_a_line_add_no_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2, ,\n")
    assert read_table(tmp_path / "a.csv").rows == [(2, {"a": "1", "b": "2"})]


def test_json_lines_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('\ufeff{"a": 1}\n')
    assert read_table(tmp_path / "a.txt").rows == [(1, {"a": 1})]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n', "line 2: not a JSON object"),
        ("a.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", "[" * 100_000, "line 1: not a JSON object"),
        ("a.jsonl", "\n", "has no row"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 cells where the header has 2"),
        ("a.csv", "a,b\n1\n", "line 2: 1 cells where the header has 2"),
        ("a.csv", "a,b\n1," + "x" * 200_000, "line 2: not CSV"),
        ("a.csv", "a,b\n", "has no row"),
        ("a.csv", "a,b\n1,\0\n", "line 2: it is no text"),
        ("a.csv", 'a,b\n1,"2\n3,4\n5,6\n', "line 2: not CSV"),
        ("a.csv", 'a,b\n1,"2"x\n', "line 2: not CSV"),
        ("a.csv", 'a,b\n0,0\n"1,2\n3,"4\n', "line 3: not CSV"),
        ("a.tsv", 'a\tb\n1\t"2\n3\t4\n5\t6"\n', "line 2: a double quote is not closed before line 3"),
        ("a.csv", 'a,b\n1.png,"2\n3.PNG,"\n', "line 2: a double quote is not closed before line 3"),
        ("a.csv", "a,b,a\n1,2,3\n", "line 1: the column 'a' is there twice"),
        ("a.csv", "", "has no row"),
        ("a.parquet", "no Parquet", "is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says) as refused:
        read_table(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)


def test_parquet_without_pyarrow_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pip install 'roco-search\[train\]'"):
        read_table(tmp_path / "a.parquet")
