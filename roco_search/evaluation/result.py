"""An evaluation as JSON: CLIP_benchmark's keys where it has them (LAION-AI/CLIP_benchmark), and roco's own.

One object for each task. ``image_retrieval_*`` is text-to-image and ``text_retrieval_*`` image-to-text, as there. What
counts an identical caption as found ends in ``_any``; without it only the own image, or any of its captions, is right,
which is CLIP_benchmark's rule. ``n`` and ``candidates`` count images, each once, however many captions it has. Shares
are 0 to 1. ``intervals`` has the 95 % bootstrap interval of each of ``metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roco_search import __version__
from roco_search.evaluation.classification import Classification
from roco_search.evaluation.image_to_image import ImageToImage
from roco_search.evaluation.protocols import ROCO_TEST, ROCO_V1, SHUFFLE_SEED, SHUFFLES, SOURCE, Protocol, Retrieval
from roco_search.evaluation.retrieval import RetrievalResult
from roco_search.evaluation.run import Evaluation
from roco_search.statistics.bootstrap import RESAMPLES, Metric
from roco_search.statistics.classification import ZeroShot
from roco_search.statistics.ranks import Direction, Matching

_PREFIX: Mapping[Direction, str] = {"image-to-text": "text_retrieval", "text-to-image": "image_retrieval"}


def as_json(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return an object for retrieval, if that was measured, and one for each column that was classified or found by."""
    tasks: list[dict[str, Any]] = []
    if evaluation.retrieval is not None:
        tasks.append({**_head(evaluation, "zeroshot_retrieval"), **_retrieval(evaluation, evaluation.retrieval)})
    tasks += [
        {**_head(evaluation, "zeroshot_classification"), **_classification(evaluation, entry)}
        for entry in evaluation.classifications
    ]
    tasks += [{**_head(evaluation, "image_to_image_retrieval"), **_images(evaluation, e)} for e in evaluation.images]
    return tasks


def key(direction: Direction, matching: Matching, metric: str) -> str:
    """Return the key of a figure.

    >>> key("text-to-image", "any", "recall@5")
    'image_retrieval_recall@5_any'
    """
    return f"{_PREFIX[direction]}_{metric}{'_any' if matching == 'any' else ''}"


def _head(evaluation: Evaluation, task: str) -> dict[str, Any]:
    encoder, embedded = evaluation.encoders[0], evaluation.embedded[0]
    return {
        "dataset": evaluation.data.name,
        "model": encoder.name,
        "pretrained": encoder.fingerprint,
        "task": task,
        "language": "en",
        "split": evaluation.data.split,
        "where": list(evaluation.conditions),
        "layout": evaluation.data.layout,
        "left_out": {**evaluation.data.left_out.counts},
        "unreadable": [{"name": entry.name, "reason": entry.reason} for entry in embedded.unreadable],
        "fingerprint": encoder.fingerprint,
        "seed": evaluation.tasks.seed,
        "resamples": RESAMPLES,
        "roco_version": __version__,
    }


def _retrieval(evaluation: Evaluation, result: RetrievalResult) -> dict[str, Any]:
    found: dict[str, Any] = _pool(result.whole)
    found["protocols"] = {name: _protocol(name, entries, result) for name, entries in result.protocols.items()}
    if evaluation.tasks.by is not None:
        found["groups"] = {str(evaluation.tasks.by): {name: _pool(entries) for name, entries in result.groups.items()}}
        found["groups_without_choice"] = list(result.without_choice)
    return {**found, **_against(evaluation, found)}


def _pool(entries: Sequence[Retrieval]) -> dict[str, Any]:
    figures = {key(e.direction, e.matching, name): metric for e in entries for name, metric in e.metrics.items()}
    by = {entry.direction: entry for entry in entries}
    found: dict[str, Any] = {"n": entries[0].queries, "candidates": entries[-1].candidates}
    if len(by) > 1:
        found |= {"images": by["image-to-text"].queries, "captions": by["text-to-image"].queries}
    found |= _figures(figures)
    if entries[0].against is not None:
        other = {key(e.direction, e.matching, n): m for e in entries for n, m in (e.against or {}).items()}
        gain = {key(e.direction, e.matching, n): m for e in entries for n, m in (e.difference or {}).items()}
        found["against"] = {**_figures(other), "difference": _difference(gain)}
    return found


def _protocol(name: Protocol, entries: Sequence[Retrieval], result: RetrievalResult) -> dict[str, Any]:
    found = _pool(entries)
    match name:
        case "roco-v1":
            published = [
                {"direction": p.direction, "candidates": p.candidates, "metric": p.metric, "value": p.value}
                for p in ROCO_V1
            ]
            found["published"] = {"source": SOURCE, "n": ROCO_TEST, "figures": published}
        case "shuffled-32":
            found |= {"shuffles": SHUFFLES, "seed": SHUFFLE_SEED}
        case "m3ae-2k":
            found["missing"] = list(result.missing)
    return found


def _classification(evaluation: Evaluation, entry: Classification) -> dict[str, Any]:
    found: dict[str, Any] = {
        "column": str(entry.classes.column),
        "classes": {
            label.name: {"prompts": label.positive, "aliases": label.aliases} for label in entry.classes.labels
        },
        "other": dict(entry.classes.other),
        "without_value": entry.classes.silent,
        **_measured(entry.measured),
        "confusion": entry.measured.confusion,
    }
    if entry.against is not None and entry.difference is not None:
        other = _measured(entry.against)
        gain = {_KEYS[name]: metric for name, metric in entry.difference.items()}
        found["against"] = {
            "metrics": other["metrics"], "intervals": other["intervals"], "difference": _difference(gain)
        }  # fmt: skip
    if evaluation.tasks.by is not None:
        found["groups"] = {str(evaluation.tasks.by): {name: _measured(group) for name, group in entry.groups.items()}}
    return {**found, **_against(evaluation, found)}


def _images(evaluation: Evaluation, entry: ImageToImage) -> dict[str, Any]:
    found: dict[str, Any] = {
        "label": entry.label.name,
        "same_case": entry.label.cases,
        "n": entry.queries,
        "images": entry.images,
        "without_another": entry.without,
        "without_label": entry.silent,
        **_figures(entry.metrics),
        "chance": dict(entry.chance),
        "labels": {name: {"n": n, **_figures(metrics)} for name, (n, metrics) in entry.by_label.items()},
    }
    if entry.against is not None and entry.difference is not None:
        found["against"] = {**_figures(entry.against), "difference": _difference(entry.difference)}
    return {**found, **_against(evaluation, found)}


_KEYS = {
    "accuracy": "acc1",
    "top_5_accuracy": "acc5",
    "mean_per_class_recall": "mean_per_class_recall",
    "macro_auc": "macro_auc",
}


def _measured(measured: ZeroShot) -> dict[str, Any]:
    figures = {
        name: metric for attribute, name in _KEYS.items() if isinstance(metric := getattr(measured, attribute), Metric)
    }
    figures |= {f"auc/{label.label}": label.auc for label in measured.labels if label.auc is not None}
    return {"n": measured.images, **_figures(figures)}


def _against(evaluation: Evaluation, found: Mapping[str, Any]) -> dict[str, Any]:
    if len(evaluation.encoders) == 1:
        return {}
    other = evaluation.encoders[1]
    return {"against": {"model": other.name, "fingerprint": other.fingerprint, **found["against"]}}


def _figures(figures: Mapping[str, Metric]) -> dict[str, Any]:
    return {
        "metrics": {name: metric.value for name, metric in figures.items()},
        "intervals": {name: [metric.low, metric.high] for name, metric in figures.items()},
    }


def _difference(figures: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: {"value": m.value, "low": m.low, "high": m.high} for name, m in figures.items()}
