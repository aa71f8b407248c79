"""What a person may call a column."""

from __future__ import annotations

import pytest

from roco_search.errors import InputError
from roco_search.evaluation.classes import Column, find_column
from tests.evaluation.made import pair, pairs


def test_a_column_and_an_entry_of_a_list() -> None:
    made = pairs(4)
    assert [find_column("modality", made).of(entry) for entry in made] == ["CT", "MR", "CT", "MR"]
    assert [find_column("labels[1]", made).of(entry) for entry in made] == [
        "Pneumonia",
        "Pneumonia",
        "Normal",
        "Normal",
    ]
    assert find_column("labels[-2]", made).of(made[1]) == "mri"
    assert find_column("number", made).of(made[3]) == "3"
    assert find_column("Modality", made) == Column("modality")
    assert str(find_column("labels[1]", made)) == "labels[1]"


def test_a_column_that_ends_in_brackets_is_itself() -> None:
    made = [pair(0, "a", **{"size[mm]": 3, "odd[1]": "x"})]
    assert find_column("size[mm]", made) == Column("size[mm]")
    assert find_column("odd[1]", made) == Column("odd[1]")


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_nothing_is_nothing(value: object) -> None:
    assert Column("finding").of(pair(0, "a", finding=value)) is None
    assert Column("finding").of(pair(0, "a")) is None
    assert Column("finding").of(pair(0, "a", finding="none")) == "none", "no finding is something"
    assert Column("finding", 2).of(pair(0, "a", finding=["x", "y"])) is None, "the list is too short"


def test_what_cannot_be_meant_is_refused() -> None:
    made = pairs(4)
    with pytest.raises(InputError, match=r"no column 'modlity'; it has modality, labels, source, number\. Name one"):
        find_column("modlity", made)
    with pytest.raises(InputError, match="holds lists; name one entry of them, such as 'labels\\[0\\]'"):
        find_column("labels", made).of(made[0])
    with pytest.raises(InputError, match="holds no lists; name it without"):
        find_column("modality[0]", made).of(made[0])
    with pytest.raises(InputError, match="it has none"):
        find_column("modality", [pair(0, "a")])
