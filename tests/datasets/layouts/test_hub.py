"""Data sets of the hub: through the loader of `datasets`, from a copy in the current folder and from its cache.

No test here touches the network: `datasets` takes a folder of the name for the data set, and its offline mode keeps it
to what is in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from roco_search.datasets import open_pairs, open_training
from roco_search.datasets.layouts import is_hub_id, open_hub
from roco_search.errors import HubError
from tests.datasets.drawing import grey_of
from tests.datasets.layouts.test_arrow import made

ROCO, ROCO_2 = "eltorio/ROCO-radiology", "eltorio/ROCOv2-radiology"
# As the card of eltorio/ROCOv2-radiology declares them.
CARD = """---
dataset_info:
  features:
  - {name: image, dtype: image}
  - {name: image_id, dtype: string}
  - {name: caption, dtype: string}
  - {name: cui, sequence: string}
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: validation, path: data/validation-*}
  - {split: test, path: data/test-*}
---
"""


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own and no network, in a folder without anything."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    datasets.disable_progress_bars()
    yield tmp_path / "cache"
    datasets.enable_progress_bars()


def write_repository(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    for split, greys in (("train", [1, 2, 3]), ("validation", [4]), ("test", [5, 6])):
        made(greys).to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))


def test_its_loader_takes_a_repository_with_that_schema(offline: Path) -> None:
    write_repository(Path(ROCO_2))
    found = open_hub(ROCO_2)
    assert (found.name, found.layout, list(found.splits)) == (ROCO_2, "hub data set", ["train", "validation", "test"])
    first, second = found.splits["test"]()
    assert (first.name, first.captions, first.columns["cui"]) == ("test row 1", ["a grey of 5"], ["C0040405", "C5"])
    assert first.picture is not None and int(first.picture.read()[0, 0, 0]) == 5
    assert second.columns["image_id"] == "ROCOv2_2023_train_000006"


def test_what_is_in_the_cache_needs_no_network(offline: Path) -> None:
    write_repository(Path("here"))
    datasets.load_dataset("./here")
    # Where the loader keeps what it fetched by that id, and what it calls it there.
    own = "roc_ov2-radiology"
    (offline / "here").rename(offline / f"eltorio___{own}")
    for path in list(offline.rglob("*.arrow")):
        path.rename(path.with_name(path.name.replace("here", own)))
    found = open_pairs(ROCO_2, "test", caption_columns=["cui"])
    assert (found.name, found.layout) == (ROCO_2, "hub data set")
    assert [grey_of(pair) for pair in found.pairs] == [5, 6]
    data = open_training(ROCO_2)
    assert not data.cut and [pair.caption for pair in data.validation.pairs] == ["a grey of 4"]


def test_without_a_network_one_sentence(offline: Path) -> None:
    with pytest.raises(HubError, match=r"cannot be reached .* download the data set elsewhere, and give its folder"):
        open_pairs(ROCO, "test")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset"),
            "no folder a/b here, and the hub offers",
        ),
        (ConnectionError("HTTPSConnectionPool(host='…')"), "cannot be reached"),
        (RuntimeError("Dataset scripts are no longer supported"), r"cannot be loaded \(RuntimeError\)"),
    ],
)
def test_what_the_loader_raises_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    def refuse(_: str) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HubError, match=says) as refused:
        open_hub("a/b")
    assert str(error) not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "is_one"),
    [(ROCO, True), ("a/b", True), ("a", False), ("a/b/c", False), ("./a", False), ("/a/b", False), ("a/b.csv", False)],
)
def test_an_id(data: str, is_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(data) == is_one
    (tmp_path / "a").mkdir()
    assert is_hub_id(data) == (data == ROCO), "a path into a folder that is here is a mistyped path"
