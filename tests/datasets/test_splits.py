"""One split under several names, and a sentence where there is none."""

from __future__ import annotations

import pytest

from roco_search.datasets.splits import canonical, find_split, in_order, known_split, require_split
from roco_search.errors import InputError
from tests.datasets.drawing import data_set


@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev", "Dev", "VAL"])
def test_validation_goes_by_several_names(name: str) -> None:
    assert canonical(name) == known_split(name) == "validation"
    assert find_split(data_set(train=[], dev=[]), name) == "dev"


def test_a_split_of_another_kind_keeps_its_name() -> None:
    assert canonical("fold-1") == "fold-1" and known_split("fold-1") is None
    assert require_split(data_set(**{"fold-1": []}), "fold-1") == "fold-1"


def test_an_absent_split_names_those_there_are() -> None:
    assert find_split(data_set(train=[], dev=[]), "test") is None
    with pytest.raises(InputError, match=r"no split 'test'; it has train, dev\."):
        require_split(data_set(dev=[], train=[]), "test")


def test_two_splits_of_one_kind_must_be_told_apart() -> None:
    both = data_set(train=[], val=[], dev=[])
    assert require_split(both, "dev") == "dev"
    with pytest.raises(InputError, match="2 splits that go by the name 'validation': val, dev"):
        require_split(both, "validation")


def test_their_order() -> None:
    assert in_order({"zeta", "test", "dev", "alpha", "training"}) == ["training", "dev", "test", "alpha", "zeta"]
