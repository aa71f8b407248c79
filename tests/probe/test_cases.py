"""No case is on both sides of a division, and what belongs together is found."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.probe.cases import divide, number_cases
from tests.library.toy import Builder
from tests.probe.conftest import Taught


@settings(max_examples=60)
@given(st.data())
def test_no_fold_divides_a_case_and_every_fold_can_be_measured(data: st.DataObject) -> None:
    count = data.draw(st.integers(4, 60))
    cases = np.array(data.draw(st.lists(st.integers(0, 20), min_size=count, max_size=count)))
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    folds = divide(positive, cases, data.draw(st.integers(2, 6)), seed=data.draw(st.integers(0, 9)))
    assert all(len(set(folds[cases == case])) == 1 for case in np.unique(cases))
    assert set(folds) == set(range(folds.max() + 1))
    with_both = [c for side in (True, False) for c in [len(np.unique(cases[positive == side]))]]
    if min(with_both) >= 2 and len(np.unique(cases)) == count:  # each picture its own case
        assert all(positive[folds == fold].any() and not positive[folds == fold].all() for fold in set(folds))


def test_cases_are_joined_by_all_that_is_known(taught: Taught) -> None:
    library = taught.opened.library
    first = library.frames.get([1])[1]
    vector = library.embedding(1)
    assert vector is not None
    chance = np.random.default_rng(0)
    apart = [v / np.linalg.norm(v) for v in chance.normal(size=(5, len(vector))).astype(np.float32)]
    with Builder.of(taught.opened.directory) as builder:
        builder.add("/twin.png", 901, [vector])  # nearly the same picture as the first
        builder.add("/a.dcm", 902, [apart[0]], study_uid="s", series_uid="1")
        builder.add("/b.dcm", 903, [apart[1]], study_uid="s", series_uid="2")
        builder.add("/c.dcm", 904, [apart[2]])
        builder.add("/d.dcm", 905, [apart[3]], series_uid="2")
        builder.add("/copy of c.dcm", 904, [apart[4]])
    taught.opened.library._index = None
    names = ["/twin.png", "/a.dcm", "/b.dcm", "/c.dcm", "/d.dcm", "/copy of c.dcm"]
    frames = [first, *(library.frames.of_file(name)[0] for name in names)]

    def together(by: str | None, **stated: str) -> list[int]:
        return number_cases(library, frames, {f"/{key}.dcm": value for key, value in stated.items()}, by).tolist()

    numbers = together(None)
    assert numbers[0] == numbers[1] and numbers[2] == numbers[3] == numbers[5] and numbers[4] == numbers[6]
    assert len(set(numbers)) == 3
    by_series = together("series")
    assert by_series[2] != by_series[3] == by_series[5]
    assert len(set(together("file"))) == 5
    assert together(None, a="p", c="p")[2] == together(None, a="p", c="p")[4], "a column of the table"
    library.remove("/twin.png")
