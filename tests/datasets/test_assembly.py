"""Rows become pairs, or are counted with the reason."""

from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from roco_search.datasets import PictureFile
from roco_search.datasets.assembly import assemble, check_choices, refuse_empty
from roco_search.errors import InputError, TrainingError
from roco_search.evaluation.embed import own_captions
from tests.datasets.drawing import data_set, row


def test_a_row_becomes_a_pair() -> None:
    split = assemble([row("a.png", "own", "second", case="c", licence="CC BY", source="x")])
    (pair,) = split.pairs
    assert pair.picture == PictureFile(Path("a.png")) and pair.picture.name == "a.png"
    assert pair.caption == "own" and pair.captions == {"own": 0.6, "second": pytest.approx(0.4)}
    assert pair.columns == {"source": "x", "licence": "CC BY"} and pair.case == "c"
    assert split.names == ["a.png"] and not split.left_out.counts


def test_a_licence_keeps_the_name_that_the_data_set_gives_it() -> None:
    (pair,) = assemble([row(licence="CC BY", license="CC BY")]).pairs
    assert pair.columns == {"license": "CC BY"}


def test_what_is_no_pair_is_counted_with_its_reason() -> None:
    rows = [
        row("1", "a", licence="CC BY 4.0"),
        replace(row("2", "a", licence="CC BY"), picture=None),
        replace(row("3", licence="CC BY"), captions=()),
        replace(row("4", licence="CC BY"), captions=(), fault="a line of another kind"),
        row("5", "a", licence="CC BY-NC"),
        row("6", "a"),
        replace(row("7", licence="CC BY"), captions=()),
    ]
    split = assemble(rows, licences=["cc-by"])
    assert split.names == ["1"]
    assert split.left_out.examples == {
        "the image is missing": ["2"],
        "the caption is empty": ["3", "7"],
        "a line of another kind": ["4"],
        "under another licence than asked for": ["5"],
        "no licence is stated": ["6"],
    }
    assert split.left_out.counts["the caption is empty"] == 2


def test_a_thousand_copies_of_one_image_hold_their_captions_once() -> None:
    rows = [replace(row(f"{number}.png", f"caption {number}"), image="one") for number in range(1000)]
    tracemalloc.start()
    pairs = assemble(rows).pairs
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 10e6, "a mapping of its own for each would take 37 MB, and 2.4 GB for eight thousand"
    captions = pairs[400].captions
    every = [f"caption {number}" for number in range(1000)]
    assert list(captions) == ["caption 400", *every[:400], *every[401:]] and len(captions) == 1000
    assert list(captions.values()) == [1.0] + [0.0] * 999 and captions == {
        **dict.fromkeys(every, 0.0),
        "caption 400": 1,
    }
    assert pickle.loads(pickle.dumps(captions)) == captions and "another" not in captions
    assert own_captions(pairs[400]) == ["caption 400"]


def test_at_most_three_examples_are_kept() -> None:
    split = assemble([replace(row(str(i)), picture=None) for i in range(9)])
    assert split.left_out.counts == {"the image is missing": 9}
    assert split.left_out.examples == {"the image is missing": ["0", "1", "2"]}


def test_columns_of_captions_stand_in_where_the_own_one_is_empty() -> None:
    rows = [
        replace(row("1", title="a title", words=["x", "y"]), captions=()),
        row("2", "own", title="a title", words=[]),
    ]
    first, second = assemble(rows, caption_columns=["title", "words"]).pairs
    assert first.caption == "a title" and first.captions == {"a title": 0.6, "x, y": pytest.approx(0.4)}
    assert second.captions == {"own": 0.6, "a title": pytest.approx(0.4)}


def test_a_column_of_captions_must_be_there() -> None:
    check_choices([row(), row(title="t")], data_set(), caption_columns=["title"])
    with pytest.raises(InputError, match=r"\./drawn has no column 'titel' to take captions from; it has title\."):
        check_choices([row(title="t")], data_set(), caption_columns=["titel"])


@pytest.mark.parametrize("kind", [InputError, TrainingError])
def test_a_split_of_which_nothing_is_left_says_why(kind: type[InputError]) -> None:
    refuse_empty(assemble([row()]), data_set(), "train", kind)
    nothing = assemble(
        [replace(row("b/1.png"), picture=None), replace(row("2"), captions=()), replace(row("3"), captions=())]
    )
    with pytest.raises(
        kind, match=r"train of \./drawn .* the caption is empty \(2\), the image is missing \(1\).* is 2\."
    ):
        refuse_empty(nothing, data_set(), "train", kind)
    with pytest.raises(kind, match="is empty"):
        refuse_empty(assemble([]), data_set(), "train", kind)
