"""Images are recognised by their content, and each file is read no further than needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from roco_search.datasets import PictureFile, open_pairs, open_training
from roco_search.datasets.identity import identities
from roco_search.datasets.report import describe
from roco_search.imaging import CtWindows
from roco_search.training.batches import positives
from tests.datasets.drawing import draw, write_csv


@dataclass
class Stored:
    """A picture in memory, which counts how often it is read, and how far."""

    name: str
    content: bytes
    reads: Counter[int] = field(default_factory=Counter)

    def read(self, ct_windows: CtWindows | None = None) -> np.ndarray:
        raise NotImplementedError

    def size(self) -> int:
        return len(self.content)

    def stored(self, limit: int = -1) -> bytes:
        self.reads[limit] += 1
        return self.content[: limit if limit >= 0 else None]


CONTENTS = st.lists(
    st.sampled_from([b"", b"a", b"b", b"x" * 5000, b"x" * 4999 + b"y", b"y" + b"x" * 4999]), max_size=12
)


@given(CONTENTS)
def test_pictures_are_the_same_where_all_their_bytes_are(contents: list[bytes]) -> None:
    found = identities([Stored(f"{number}", content) for number, content in enumerate(contents)])
    assert found == [str(contents.index(content)) for content in contents]


def test_a_picture_of_a_size_of_its_own_is_not_read_and_few_are_read_to_the_end() -> None:
    alone, other = Stored("alone", b"1" * 9000), Stored("other", b"2" * 5000)
    beginning, copy = Stored("beginning", b"3" * 5000), Stored("copy", b"3" * 5000)
    assert identities([alone, other, beginning, copy]) == ["alone", "other", "beginning", "beginning"]
    assert not alone.reads and set(other.reads) == {4096} and set(copy.reads) == {4096, -1}


def test_what_cannot_be_read_is_like_no_other(tmp_path: Path) -> None:
    absent = [PictureFile(tmp_path / name) for name in ("a", "b")]
    assert identities(absent) == [picture.name for picture in absent]


def table(folder: Path, *rows: tuple[str, str, str]) -> Path:
    for number, (name, _, _) in enumerate(rows):
        if not (folder / name).exists():
            draw(folder / name, number)
    return write_csv(folder / "all.csv", ["file_name", "caption", "split"], rows)


def test_captions_of_one_image_are_true_of_all_its_rows_whatever_it_is_called(tmp_path: Path) -> None:
    copy(draw(tmp_path / "0.png"), tmp_path / "copy.png")
    rows = [("0.png", "one", "train"), ("1.png", "two", "train"), ("./0.png", "three", "train")]
    path = table(tmp_path, *rows, ("copy.png", "two", "train"))
    pairs = open_pairs(path, "train").pairs
    assert [pair.image for pair in pairs] == [pairs[0].image, pairs[1].image, pairs[0].image, pairs[0].image]
    assert pairs[0].captions == {"one": 1.0, "three": 0.0, "two": 0.0} and pairs[1].captions == {"two": 1.0}
    drawn = [pair.caption for pair in pairs]
    assert positives(pairs, drawn).tolist() == [
        [True, True, True, True],
        [False, True, False, True],
        [True, True, True, True],
        [True, True, True, True],
    ]
    assert describe(open_pairs(path, "train"))[0].endswith("4 pairs (2 images, 3 distinct captions).")


def test_an_image_that_is_in_two_splits_is_not_learned_and_that_is_said(tmp_path: Path) -> None:
    rows = [
        ("0.png", "first caption of zero", "train"),
        ("1.png", "one", "train"),
        ("2.png", "two", "train"),
        ("0.png", "second caption of zero", "val"),
        ("3.png", "three", "val"),
    ]
    path = table(tmp_path, *rows)
    data = open_training(path)
    assert [pair.caption for pair in data.train.pairs] == ["one", "two"] and len(data.validation) == 2
    assert data.train.left_out.counts == {"the image is in the validation split too": 1}
    assert any("1 row, the image is in the validation split too (0.png)" in line for line in describe(data))
    kept = open_training(path, cases_apart=False)
    assert len(kept.train) == 3 and any("1 training pair is of cases or images" in line for line in describe(kept))
