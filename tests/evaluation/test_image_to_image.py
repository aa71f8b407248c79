"""Images found by images, against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from roco_search.datasets import open_pairs
from roco_search.datasets.pair import Pair
from roco_search.errors import InputError
from roco_search.evaluation.embed import Embedded
from roco_search.evaluation.image_to_image import ImageToImage, find_label, measure_image_to_image
from roco_search.evaluation.report import report
from roco_search.evaluation.result import as_json
from roco_search.evaluation.run import evaluate, plan_evaluation
from tests.concepts import ConceptEncoder, draw
from tests.evaluation.made import Drawn, unit


def embedded(seed: int, labels: list[Any], cases: list[str | None] | None = None) -> Embedded:
    cases = cases or [None] * len(labels)
    pairs = [
        Pair(Drawn(f"{number}.png", ()), "", columns={"finding": label}, case=case)
        for number, (label, case) in enumerate(zip(labels, cases, strict=True))
    ]
    images = unit(np.random.default_rng(seed), len(labels), 6)
    return Embedded(pairs, images, {}, np.empty((0, 6), np.float32), [])


def measure(found: Embedded, name: str = "finding", **options: Any) -> ImageToImage:
    return measure_image_to_image([found], find_label(name, found.pairs, **options))


def by_scikit_learn(found: Embedded, same: np.ndarray, candidate: np.ndarray) -> dict[str, float]:
    """The mean over the queries of what scikit-learn says of each list."""
    rows: list[dict[str, float]] = []
    for number in range(len(found.pairs)):
        among = candidate[number]
        right, scores = same[number, among], (found.images @ found.images.T)[number, among].astype(np.float64)
        if right.any():
            best = np.argsort(-scores)
            rows.append(
                {f"precision@{k}": float(right[best[:k]].mean()) for k in (1, 5, 10)}
                | {
                    "found@10": float(right[best[:10]].any()),
                    "map": float(average_precision_score(right, scores)),
                    "ndcg": float(ndcg_score(right[None].astype(float), scores[None])),
                }
            )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} | {"queries": len(rows)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["one", "lists", "cases left out", "cases kept", "the case"])
def test_every_figure_agrees_with_scikit_learn(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    labels: list[Any] = random.choice(list("abcd"), 60).tolist()
    if kind == "lists":
        labels = [sorted({*random.choice(list("abcdefgh"), 2).tolist()}) for _ in range(60)]
    cases = [f"case {number}" for number in random.integers(0, 15, 60)] if "case" in kind else None
    found = embedded(seed, labels, list(cases) if cases else None)
    same = np.array([[bool(set(one) & set(other)) for other in labels] for one in labels])
    candidate = ~np.eye(60, dtype=bool)
    if cases and kind != "the case":
        of_case = np.array(cases)[:, None] == np.array(cases)[None, :]
        candidate &= ~of_case if kind == "cases left out" else True
    if cases and kind == "the case":
        same = np.array(cases)[:, None] == np.array(cases)[None, :]
    measured = measure(found, "case" if kind == "the case" else "finding", same_case=kind == "cases kept")
    expected = by_scikit_learn(found, same, candidate)
    assert measured.queries == expected.pop("queries")
    assert {name: metric.value for name, metric in measured.metrics.items()} == pytest.approx(expected)
    assert all(metric.low <= metric.value <= metric.high for metric in measured.metrics.values())
    wanted = {"cases left out": "left out", "cases kept": "kept", "the case": "asked for"}
    assert measured.label.cases == wanted.get(kind, "not stated")


def test_chance_is_what_random_orders_give() -> None:
    labels = [*"aab", *"c" * 9, *"d" * 28]
    measured = [measure(embedded(seed, labels)) for seed in range(60)]
    for name, expected in measured[0].chance.items():
        assert np.mean([entry.metrics[name].value for entry in measured]) == pytest.approx(expected, abs=0.02)


def test_a_model_that_maps_everything_to_one_point_earns_nothing() -> None:
    found = embedded(0, [*"ab" * 10])
    constant = replace(found, images=np.ones((20, 6), np.float32) / 6**0.5)
    measured = measure(constant)
    assert measured.metrics["precision@10"].value == 0 and measured.metrics["found@10"].value == 0


def test_what_has_no_label_or_no_companion_is_counted() -> None:
    found = embedded(0, ["a", "a", "b", None, "", "c", "c"])
    measured = measure(found)
    assert (measured.images, measured.queries, measured.without, measured.silent) == (5, 4, 1, 2)
    assert list(measured.by_label) == ["a", "c"] and measured.by_label["a"][0] == 2


def test_rows_of_one_image_are_one_image() -> None:
    found = embedded(0, [*"aabb"])
    twice = Embedded(
        [*found.pairs, found.pairs[0]], np.concatenate([found.images, found.images[:1]]), {}, found.vectors, []
    )
    assert measure(twice).metrics == measure(found).metrics


def test_two_models_are_compared_on_the_same_images() -> None:
    first, second = embedded(0, [*"abcd" * 8]), embedded(1, [*"abcd" * 8])
    both = measure_image_to_image([first, replace(second, pairs=first.pairs)], find_label("finding", first.pairs))
    assert both.against == measure(second).metrics and both.difference is not None
    assert both.difference["map"].value == pytest.approx(both.metrics["map"].value - both.against["map"].value)


def test_a_folder_of_cases_is_a_data_set_that_needs_no_captions(tmp_path: Path) -> None:
    for number in range(12):
        draw(tmp_path / "scans" / f"case {number // 3}" / f"{number}.png", ("ct", "mri")[number // 6], own=True)
    data = open_pairs(tmp_path / "scans", "test", need_captions=False)
    assert (len(data), data.layout) == (12, "folders of images")
    found = evaluate(data, [ConceptEncoder()], plan_evaluation(data, tmp_path, image_to_image=["folder"]))
    (measured,) = found.images
    assert (measured.queries, measured.label.name) == (12, "folder") and found.retrieval is None
    (plain,) = as_json(found)
    assert (plain["task"], plain["label"], plain["n"]) == ("image_to_image_retrieval", "folder", 12)
    assert set(plain["metrics"]) == {"precision@1", "precision@5", "precision@10", "found@10", "map", "ndcg"}
    assert plain["chance"]["precision@1"] == pytest.approx(2 / 11)
    assert "Image to image by folder, 12 queries among N = 12 images" in report(found)
    with pytest.raises(InputError, match="in none of the layouts"):
        open_pairs(tmp_path / "scans", "test")


def test_a_folder_of_classes_may_be_divided_into_splits(tmp_path: Path) -> None:
    for number in range(6):
        draw(tmp_path / ("train", "test")[number % 2] / ("ct", "mri")[number // 3] / f"{number}.png", own=True)
    data = open_pairs(tmp_path, "test", need_captions=False)
    assert [pair.columns["folder"] for pair in data.pairs] == ["ct", "mri", "mri"]


@pytest.mark.parametrize(
    ("labels", "cases", "name", "says"),
    [
        ([*"aab"], None, "findng", "no column 'findng'"),
        ([*"abc"], None, "finding", "No two images have the same label in 'finding'"),
        ([*"aab"], None, "case", "no column 'case'"),
        ([*"aab"], ["x", "x", "y"], "finding", "outside of its own case"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels: list[str], cases: list[str] | None, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        measure(embedded(0, labels, list(cases) if cases else None), name)
