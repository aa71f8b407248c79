"""Which pictures answer which query, by the columns of the development pairs; and how well a ranking does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

KINDS = ("plain", "anatomy", "findings", "plane", "typed", "without", "languages")
TOP = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """A query with its kind and rule; a query that nothing answers has no rule."""

    text: str
    kind: str
    rule: Mapping[str, str] | None


@cache
def queries() -> tuple[Asked, ...]:
    """Return every query of ``queries.yaml``."""
    content = yaml.safe_load((Path(__file__).parent / "queries.yaml").read_text("utf-8"))
    found = [Asked(str(text), kind, rule) for kind in KINDS for text, rule in content[kind].items()]
    return (*found, *(Asked(text, kind, None) for kind, texts in content["nothing"].items() for text in texts))


def answers(asked: Asked, rows: list[dict[str, Any]]) -> npt.NDArray[np.bool_]:
    """Return which rows answer a query, bool ``(n,)``."""
    if asked.rule is None:
        return np.zeros(len(rows), bool)
    return np.array([_answers(asked.rule, row) for row in rows])


def _answers(rule: Mapping[str, str], row: dict[str, Any]) -> bool:
    said = "; ".join([row["text"], row.get("title", ""), *row["labels"]]).lower()
    return (
        ("m" not in rule or row["modality"] in rule["m"].split("|"))
        and ("b" not in rule or re.search(rule["b"], row["body_part"]) is not None)
        and ("l" not in rule or re.search(rule["l"].lower(), said) is not None)
        and ("x" not in rule or re.search(rule["x"].lower(), said) is None)
        and ("p" not in rule or re.search(rf"\b{rule['p']}\b", said) is not None)
    )


def half(row: dict[str, Any]) -> int:
    """Return 0 for a case to fit with and 1 for one to judge by; rows of one case are in the same half."""
    return hashlib.sha256(str(row["group"]).encode()).digest()[0] & 1


def precision(order: npt.NDArray[np.int64], right: npt.NDArray[np.bool_]) -> float:
    """Return the precision among the first ten, or among as many as there are."""
    depth = min(TOP, int(right.sum()))
    return float(right[order[:depth]].sum() / depth)
