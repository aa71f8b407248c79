"""The door of the room: one split, or what a run learns from and is judged by."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.report import describe
from roco_search.errors import InputError, TrainingError
from tests.datasets.drawing import draw, write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = []
    for i in range(30):
        draw(tmp_path / "train" / f"{i}.png")
        licence = "CC BY" if i % 3 else "CC BY-NC"
        rows.append(
            {"file_name": f"{i}.png", "text": f"text {i}", "case": f"c{i // 2}", "licence": licence, "odd": i % 2}
        )
    write_lines(tmp_path / "train" / "metadata.jsonl", rows)
    return tmp_path


def names(pairs: object) -> list[str]:
    return [Path(pair.picture.name).name for pair in pairs.pairs]  # type: ignore[attr-defined]


def test_conditions_choose_and_licences_leave_out(folder: Path) -> None:
    found = open_pairs(folder, "train", where=["odd=1"], licences=["CC BY"])
    assert names(found) == [f"{i}.png" for i in range(1, 30, 2) if i % 3]
    assert found.left_out.counts == {"under another licence than asked for": 5}


def test_a_cut_is_by_case_with_the_seed_and_not_by_place_or_order(folder: Path, tmp_path: Path) -> None:
    data = open_training(folder, seed=3)
    assert data.cut and data.validation.split == "validation"
    assert len(data.validation) in (2, 3) and len(data.train) + len(data.validation) == 30
    assert not {pair.case for pair in data.train.pairs} & {pair.case for pair in data.validation.pairs}
    assert names(open_training(folder, seed=3).validation) == names(data.validation)

    moved = tmp_path / "moved"
    moved.mkdir()
    (folder / "train").rename(moved / "train")
    table = moved / "train" / "metadata.jsonl"
    table.write_text("".join(reversed(table.read_text().splitlines(keepends=True))))
    assert set(names(open_training(moved, seed=3).validation)) == set(names(data.validation))
    assert set(names(open_training(moved, seed=4).validation)) != set(names(data.validation))


def test_a_test_split_is_left_alone(folder: Path) -> None:
    (folder / "train").rename(folder / "test")
    with pytest.raises(InputError, match=r"no split 'train'; it has test\."):
        open_training(folder)


def test_a_licence_may_be_in_one_of_the_splits_only(folder: Path) -> None:
    draw(folder / "dev" / "a.png")
    write_lines(folder / "dev" / "metadata.jsonl", [{"file_name": "a.png", "text": "a", "licence": "CC0"}])
    data = open_training(folder, licences=["CC BY", "CC0"])
    assert len(data.train) == 20 and len(data.validation) == 1
    with pytest.raises(TrainingError, match=r"split dev .* under another licence than asked for"):
        open_training(folder, licences=["CC BY"])
    with pytest.raises(InputError, match=r"No image of .* is under the licence 'MIT'"):
        open_training(folder, licences=["CC0", "MIT"])


def test_nothing_to_learn_from_is_a_training_error(folder: Path) -> None:
    rows = [{"file_name": f"{i}.png", "text": ""} for i in range(3)]
    write_lines(folder / "train" / "metadata.jsonl", rows)
    with pytest.raises(TrainingError, match=r"the caption is empty \(3\)"):
        open_training(folder)


def test_a_validation_split_of_all_cases_leaves_nothing(folder: Path) -> None:
    (folder / "val").symlink_to(folder / "train")
    with pytest.raises(TrainingError, match=r"the case is in the validation split too \(30\)"):
        open_training(folder)


def test_corrupt_images_are_not_opened(folder: Path) -> None:
    for path in (folder / "train").glob("*.png"):
        path.write_bytes(b"")
    assert len(open_pairs(folder, "train")) == 30


def test_the_collector_works_again_afterwards(folder: Path) -> None:
    open_pairs(folder, "train")
    with pytest.raises(InputError):
        open_pairs(folder, "train", where=["odd=7"])
    assert gc.isenabled()


def test_cases_are_kept_apart_unless_the_own_splits_are_wanted_as_they_are(folder: Path) -> None:
    draw(folder / "dev" / "a.png")
    write_lines(folder / "dev" / "metadata.jsonl", [{"file_name": "a.png", "text": "a text", "case": "c3"}])
    assert len(open_training(folder, where=["case=c3"], cases_apart=False).train) == 2
    apart, own = open_training(folder), open_training(folder, cases_apart=False)
    assert len(apart.train) == 28 and len(own.train) == 30 and not own.cut
    assert not any("too good" in line for line in describe(apart))
    assert "2 training pairs are of cases or images that are in the validation split too" in " ".join(describe(own))
