"""Reading single values out of a dataset that may hold anything.

pydicom converts a value when it is first accessed, and an ill-formed one can make it raise nearly any
exception, with the value in the message. Every access of roco goes through these functions: a value that
cannot be used is a value that is not there.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def raw_values(dataset: "Dataset", keyword: str) -> list[Any]:
    """Return the values of an attribute as pydicom converts them; empty if absent, empty or ill-formed."""
    try:
        value = dataset.get(keyword)
    except Exception:  # See the module docstring: anything at all can come out of an ill-formed value.
        return []
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        return [value]
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def numbers(dataset: "Dataset", keyword: str) -> list[float]:
    """Return the finite numbers of an attribute, in order; empty if one of its values is no number."""
    found: list[float] = []
    for value in raw_values(dataset, keyword):
        if isinstance(value, bytes):
            # An attribute of VR "US or SS" in an implicit VR file (always little endian, PS3.5 A.1).
            found += np.frombuffer(value[: len(value) // 2 * 2], "<u2").astype(float).tolist()
            continue
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return []
        if not math.isfinite(number):
            return []
        found.append(number)
    return found


def number(dataset: "Dataset", keyword: str) -> float | None:
    """Return the first number of an attribute, or None."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def integer(dataset: "Dataset", keyword: str) -> int | None:
    """Return the first value of an attribute if it is a whole number, or None."""
    found = number(dataset, keyword)
    return int(found) if found is not None and found.is_integer() else None


def texts(dataset: "Dataset", keyword: str) -> list[str]:
    """Return the texts of an attribute, in order; empty if one of its values is no text."""
    found = raw_values(dataset, keyword)
    return [str(value) for value in found] if all(isinstance(value, str) for value in found) else []


def text(dataset: "Dataset", keyword: str) -> str:
    """Return the first text of an attribute, stripped and in upper case, or "" if there is none."""
    found = texts(dataset, keyword)
    return found[0].strip().upper() if found else ""


def items(dataset: "Dataset", keyword: str) -> "list[Dataset]":
    """Return the items of a sequence attribute."""
    from pydicom.dataset import Dataset

    found = raw_values(dataset, keyword)
    return found if all(isinstance(value, Dataset) for value in found) else []
