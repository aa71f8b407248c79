"""From the request to the result, with an encoder whose answers are known."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from roco_search.datasets import open_pairs
from roco_search.datasets.pair import Pair
from roco_search.errors import InputError
from roco_search.evaluation.result import as_json
from roco_search.evaluation.run import Evaluation, evaluate, plan_evaluation
from roco_search.evaluation.wording import title
from roco_search.imaging import open_image
from roco_search.models import load_encoder
from tests.concepts import ConceptEncoder
from tests.evaluation.made import Broken, Drawn, pair, pair_set, pairs


class Blind(ConceptEncoder):
    """Sees the lower half of an image only: CT from MR, but no finding."""

    def __init__(self) -> None:
        super().__init__("blind")

    def encode_images(self, images: Any) -> np.ndarray:
        return super().encode_images([np.concatenate([i[:32] * 0, i[32:]]) for i in images])


def run(made: list[Pair], *others: ConceptEncoder, **options: Any) -> Evaluation:
    data = pair_set(made)
    return evaluate(data, [ConceptEncoder(), *others], plan_evaluation(data, Path(), **options))


def test_a_model_that_knows_everything_finds_everything() -> None:
    found = run(pairs(8))
    assert found.retrieval is not None and not found.classifications
    figures = {(r.direction, r.matching): r.metrics for r in found.retrieval.whole}
    assert figures["image-to-text", "any"]["recall@1"].value == 1.0
    assert figures["text-to-image", "any"]["mean_rank"].value == 1.0
    assert figures["image-to-text", "strict"]["recall@1"].value == 0.5, "two images each have the same caption"


def test_one_image_is_one_candidate_and_any_of_its_captions_is_right() -> None:
    """Rows of one image, and a list of captions in a row, are the same thing; each image is read once."""
    shown = [Drawn(f"{number}.png", words) for number, words in enumerate((("ct",), ("mri",), ("normal", "ct")))]
    said = [["ct", "an image of ct"], ["mri", "an image of mri", "a second mri"], ["normal ct"]]
    rows = [Pair(picture, text) for picture, texts in zip(shown, said, strict=True) for text in texts]
    lists = [Pair(p, texts[0], dict.fromkeys(texts, 1 / len(texts))) for p, texts in zip(shown, said, strict=True)]
    (by_rows,), (by_lists,) = as_json(run(rows)), as_json(run(lists))
    assert {picture.reads for picture in shown} == {2}, "once in each evaluation"
    for found in (by_rows, by_lists):
        assert (found["n"], found["candidates"], found["images"], found["captions"]) == (3, 3, 3, 6)
    assert by_rows["metrics"] == by_lists["metrics"] and by_rows["intervals"] == by_lists["intervals"]
    assert by_rows["metrics"]["text_retrieval_recall@1"] == 1.0
    again = run(rows).retrieval
    assert again is not None and "N = 3 images and 6 captions" in title("whole", again.whole, again)
    with pytest.raises(InputError, match="All 2 pairs show the same image"):
        run(rows[:2])


def test_an_image_of_several_rows_is_classified_once() -> None:
    made = pairs(8)
    found = run([pair for pair in made for _ in range(3)], classify=["modality"])
    assert found.classifications[0].measured == run(made, classify=["modality"]).classifications[0].measured


CASE = Path(__file__).parents[2].parent / "shared" / "cases" / "data" / "01-many-captions-eval"
IMAGES = Path(__file__).parents[2].parent / "shared" / "data" / "pairs" / "dev" / "medpix2"


@pytest.mark.skipif(not (CASE.is_dir() and IMAGES.is_dir()), reason="the shared cases are not beside this checkout")
def test_the_public_case_of_five_captions_for_each_image(tmp_path: Path) -> None:
    copy(CASE / "test.csv", tmp_path / "test.csv")
    (tmp_path / "images").symlink_to(IMAGES)
    data = open_pairs(tmp_path / "test.csv", "test")
    (found,) = as_json(evaluate(data, [load_encoder()], plan_evaluation(data, tmp_path)))
    with (CASE / "test.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["file_name"] for row in rows))
    owners = np.array([names.index(row["file_name"]) for row in rows])
    encoder = load_encoder()
    images = encoder.encode_images([next(open_image(tmp_path / name)).pixels for name in names])
    scores = encoder.encode_texts([row["caption"] for row in rows]) @ images.T
    expected = {}
    for k in (1, 5):  # CLIP_benchmark's rules, on this model's embeddings
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        expected[f"image_retrieval_recall@{k}"] = (nearest == owners[:, None]).any(axis=1).mean()
        nearest = np.argsort(-scores, axis=0, kind="stable")[:k]
        expected[f"text_retrieval_recall@{k}"] = (owners[nearest] == np.arange(len(names))).any(axis=0).mean()
    stated = json.loads((CASE / "expected.json").read_text("utf-8"))["expected"]
    assert found["images"] == stated["images"] == len(names)
    assert {name: found["metrics"][name] for name in expected} == pytest.approx(expected, abs=5e-4)


def test_groups_are_pools_of_their_own() -> None:
    made = [*pairs(8), pair(8, "normal ct", "normal", "ct", source="alone")]
    found = run(made, by="source").retrieval
    assert found is not None
    assert {name: entries[0].candidates for name, entries in found.groups.items()} == {"a": 4, "b": 4}
    assert found.without_choice == ["alone"]


def test_classification_is_measured_instead_and_reads_only_what_it_needs() -> None:
    made = pairs(8)
    found = run(made, classify=["labels[0]"], labels=["ct,mri"])
    assert found.retrieval is None and found.embedded[0].texts.shape == (0, 1024)
    (entry,) = found.classifications
    assert (entry.measured.images, entry.measured.accuracy.value) == (8, 1.0)
    few = pairs(8)
    found = run(few, classify=["number"], labels=["0,1"], ignore_other=True)
    assert found.classifications[0].measured.images == 2
    assert [p.picture.reads for p in few if isinstance(p.picture, Drawn)] == [1, 1, 0, 0, 0, 0, 0, 0]
    both = run(pairs(40), classify=["modality", "labels[1]"], protocols=["whole"])
    assert both.retrieval is not None and len(both.classifications) == 2


def test_a_broken_image_leaves_truth_and_images_together() -> None:
    made = pairs(12)
    made[1] = Pair(Broken("images/1.png"), made[1].caption, columns=made[1].columns)
    found = run(made, classify=["labels[0]"], labels=["ct,mri"], by="source")
    (entry,) = found.classifications
    assert (entry.measured.images, entry.measured.accuracy.value) == (11, 1.0)
    assert entry.measured.confusion == ((6, 0), (0, 5))
    assert {name: group.images for name, group in entry.groups.items()} == {"a": 5, "b": 6}
    assert len(found.embedded[0].unreadable) == 1


def test_two_models_on_the_same_pairs() -> None:
    found = run(pairs(64), Blind(), classify=["labels[1]"], labels=["normal,pneumonia"], protocols=["shuffled-32"])
    assert found.retrieval is not None
    for entries in (found.retrieval.whole, found.retrieval.protocols["shuffled-32"]):
        for pool in entries:
            assert pool.difference is not None and pool.against is not None
            assert pool.difference["recall@1"].value == pytest.approx(
                pool.metrics["recall@1"].value - pool.against["recall@1"].value
            )
    (entry,) = found.classifications
    assert entry.against is not None and entry.difference is not None
    assert entry.measured.accuracy.value == 1.0
    assert entry.against.accuracy.value == pytest.approx(0.5, abs=0.2)
    assert entry.difference["accuracy"].low > 0


def test_json_has_the_keys_of_clip_benchmark_and_intervals_for_all() -> None:
    made = pairs(64)
    found = run(
        made, Blind(), protocols=["shuffled-32", "roco-v1"], classify=["modality"], by="source", labels_file="modality"
    )
    retrieval, classification = as_json(found)
    json.dumps([retrieval, classification], default=str)
    for task in (retrieval, classification):
        assert {"dataset", "model", "pretrained", "task", "metrics", "language"} <= set(task)
        assert task["metrics"].keys() == task["intervals"].keys()
        assert task["against"]["fingerprint"] == "blind"
        assert task["against"]["difference"].keys() <= task["metrics"].keys()
        assert set(task["groups"]["source"]) == {"a", "b"}
    assert (retrieval["task"], classification["task"]) == ("zeroshot_retrieval", "zeroshot_classification")
    for kind in ("image_retrieval", "text_retrieval"):
        for rule in ("", "_any"):
            recalls = [retrieval["metrics"][f"{kind}_recall@{k}{rule}"] for k in (1, 5, 10)]
            assert recalls == sorted(recalls)
    assert (retrieval["n"], retrieval["groups"]["source"]["a"]["n"]) == (64, 32)
    shuffled = retrieval["protocols"]["shuffled-32"]
    assert (shuffled["candidates"], shuffled["shuffles"], shuffled["seed"]) == (32, 20, 0)
    assert "text_retrieval_recall@1_any" in shuffled["metrics"]
    published = {
        (figure["direction"], figure["candidates"], figure["metric"]): figure["value"]
        for figure in retrieval["protocols"]["roco-v1"]["published"]["figures"]
    }
    assert published["image-to-text", 32, "recall@1"] == 0.7083
    assert published["image-to-text", 8176, "recall@1"] == 0.0602, "which was first called recall@5"
    truth, called = [], []
    for row, counts in enumerate(classification["confusion"]):
        for column, count in enumerate(counts):
            truth += [row] * count
            called += [column] * count
    assert classification["metrics"]["mean_per_class_recall"] == pytest.approx(balanced_accuracy_score(truth, called))
    assert classification["metrics"]["acc1"] == pytest.approx(np.mean(np.array(truth) == np.array(called)))
    assert classification["metrics"]["acc5"] >= classification["metrics"]["acc1"]


def test_what_a_key_means() -> None:
    """image_retrieval is text-to-image: of two images with the same caption the text can name only one."""
    made = [pair(0, "ct", "ct"), pair(1, "ct", "ct", "pneumonia"), pair(2, "mri", "mri")]
    metrics = as_json(run(made))[0]["metrics"]
    assert metrics["text_retrieval_recall@1"] == pytest.approx(2 / 3)
    assert metrics["text_retrieval_recall@1_any"] == 1.0
    assert metrics["image_retrieval_recall@1"] == pytest.approx(2 / 3)
    assert metrics["image_retrieval_recall@1_any"] == 1.0


@pytest.mark.parametrize(
    ("made", "options", "says"),
    [
        ([], {}, "There is no pair here, and a search needs at least two"),
        (pairs(1), {}, "There is one pair here, and a search needs at least two"),
        ([pair(i, "the same", "ct") for i in range(5)], {}, "All 5 captions are the same, so there is nothing"),
        (pairs(4), {"by": "sorce"}, "no column 'sorce'; it has modality, labels, source"),
        (pairs(4), {"by": "labels"}, "'labels' holds lists; name one entry"),
        (pairs(4), {"classify": ["finding"]}, "no column 'finding'"),
        (pairs(4), {"protocols": ["shuffled-32"]}, "4 pairs are too few for batches of 32"),
        (pairs(4), {"protocols": ["m3ae-2k"]}, "no train/radiology/captions.txt"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_picture_is_read(
    made: list[Pair], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        plan_evaluation(pair_set(made), Path("nowhere"), **options)


def test_captions_may_be_equal_where_they_are_not_asked_for() -> None:
    made = [pair(i, "the same", ("ct", "mri")[i % 2], kind=("ct", "mri")[i % 2]) for i in range(6)]
    assert run(made, classify=["kind"]).classifications[0].measured.accuracy.value == 1.0
