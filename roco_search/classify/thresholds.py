"""Thresholds of labels, in a file that applies only to the model, mode, labels and prompts it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from roco_search.classify.engine import Classifier
from roco_search.classify.guesses import ATTRIBUTES, guessable
from roco_search.errors import InputError
from roco_search.statistics.zero_shot import ZeroShot
from roco_search.system.files import write_errors, write_file
from roco_search.vocabulary import prompt_sets

FORMAT = 1


def fingerprint_of_prompts(classifier: Classifier, index: int) -> str:
    """Return a hash over every text that may stand for a label, whatever the kind of image."""
    every = [classifier.prompts(name)[index] for name in prompt_sets()]
    texts = [[entry.positive, entry.negative if classifier.mode == "multi-label" else []] for entry in every]
    guesses = [[entry.prompts, entry.terms] for attribute in ATTRIBUTES for entry in guessable(attribute)]
    return sha256(json.dumps([texts, guesses if classifier.by_image else []]).encode()).hexdigest()


def save_thresholds(path: Path, classifier: Classifier, found: ZeroShot) -> list[str]:
    """Write the Youden thresholds of an evaluation; return the labels that have none, having one class only.

    Raises
    ------
    InputError
        If no label has a threshold, or the file cannot be written.
    StorageFull
    """
    entries: dict[str, Any] = {}
    for index, result in enumerate(found.labels):
        if result.youden is not None:
            entries[result.label] = {
                "threshold": result.youden.probability,
                "sensitivity": result.youden.sensitivity,
                "specificity": result.youden.specificity,
                "images": result.images,
                "positives": result.positives,
                "prompts": fingerprint_of_prompts(classifier, index),
            }
    if not entries:
        raise InputError("No label has images both with and without it, so there is no threshold to save.")
    content = {
        "format": FORMAT,
        "mode": classifier.mode,
        "model": classifier.encoder.name,
        "fingerprint": classifier.encoder.fingerprint,
        "labels": entries,
    }
    with write_errors(path):
        write_file(path, json.dumps(content, indent=2) + "\n", mode=None)
    return [result.label for result in found.labels if result.youden is None]


def load_thresholds(path: Path, classifier: Classifier) -> Mapping[str, float]:
    """Return the threshold of each label.

    Raises
    ------
    InputError
        If the file is not one of thresholds, or was made with another model, mode, labels or prompts.
    """
    content = _read(path)
    again = "make thresholds for these with --truth and --save-thresholds"
    if content["fingerprint"] != classifier.encoder.fingerprint:
        raise InputError(
            f"The thresholds {path} belong to another model ({content['model']}); use that with --model, or {again}."
        )
    if content["mode"] != classifier.mode:
        raise InputError(f"The thresholds {path} were made in {content['mode']} mode; use that mode, or {again}.")
    entries = content["labels"]
    names = [label.name for label in classifier.labels]
    if unknown := [name for name in names if name not in entries]:
        raise InputError(
            f"The thresholds {path} have none for {_quoted(unknown)}, only for {_quoted(list(entries))}; use those "
            f"labels, or {again}."
        )
    # A softmax over other labels gives other probabilities.
    if classifier.mode == "exclusive" and (missing := [name for name in entries if name not in names]):
        raise InputError(
            f"The thresholds {path} were made with {_quoted(missing)} among the labels; add that, or {again}."
        )
    for index, name in enumerate(names):
        if entries[name]["prompts"] != fingerprint_of_prompts(classifier, index):
            raise InputError(f"The thresholds {path} were made with other prompts for {name!r}; use those, or {again}.")
    return {name: float(entries[name]["threshold"]) for name in names}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
        known = content["format"] == FORMAT and {"mode", "model", "fingerprint"} <= content.keys()
        for entry in content["labels"].values():
            known = known and 0 <= float(entry["threshold"]) <= 1 and isinstance(entry["prompts"], str)
    except OSError as error:
        raise InputError(f"The thresholds {path} cannot be read ({error.strerror}); check the path.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise InputError(f"{path} holds no thresholds of roco; make some with --truth and --save-thresholds.")
    return dict(content)


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
