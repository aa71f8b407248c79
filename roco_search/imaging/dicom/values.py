"""Reading single values out of a dataset that may hold anything.

pydicom converts a value when it is first accessed, and an ill-formed one can make it raise nearly any
exception, with the value in the message. Every access of roco goes through these functions: a value that
cannot be used is a value that is not there.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


Attribute = str | int
"""A keyword, or a tag where the standard has no keyword, as for the overlay planes."""


def raw_values(dataset: "Dataset", keyword: Attribute) -> list[Any]:
    """Return the values of an attribute as pydicom converts them; empty if absent, empty or ill-formed."""
    try:
        value = dataset.get(keyword) if isinstance(keyword, str) else dataset[keyword].value
    except Exception:  # See the module docstring: anything at all can come out of an ill-formed value.
        return []
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        return [value]
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def numbers(dataset: "Dataset", keyword: Attribute) -> list[float]:
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


def number(dataset: "Dataset", keyword: Attribute) -> float | None:
    """Return the first number of an attribute, or None."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def integer(dataset: "Dataset", keyword: Attribute) -> int | None:
    """Return the first value of an attribute if it is a whole number, or None."""
    found = number(dataset, keyword)
    return int(found) if found is not None and found.is_integer() else None


def texts(dataset: "Dataset", keyword: Attribute) -> list[str]:
    """Return the texts of an attribute, in order; empty if one of its values is no text."""
    found = raw_values(dataset, keyword)
    return [str(value) for value in found] if all(isinstance(value, str) for value in found) else []


def text(dataset: "Dataset", keyword: Attribute) -> str:
    """Return the first text of an attribute, stripped and in upper case, or "" if there is none."""
    found = texts(dataset, keyword)
    return found[0].strip().upper() if found else ""


def items(dataset: "Dataset", keyword: str) -> "list[Dataset]":
    """Return the items of a sequence attribute."""
    from pydicom.dataset import Dataset

    found = raw_values(dataset, keyword)
    return found if all(isinstance(value, Dataset) for value in found) else []


def words(dataset: "Dataset", keyword: Attribute) -> npt.NDArray[np.uint16] | None:
    """Return the 16-bit words of an attribute of VR US, OW or OB, in either byte order; None if there are none.

    OW is in the byte order of the dataset (PS3.5 7.3), which pydicom leaves as it is.
    """
    found = raw_values(dataset, keyword)
    if len(found) == 1 and isinstance(found[0], bytes):
        _, little = dataset.original_encoding
        order = ">" if little is False and dataset[keyword].VR == "OW" else "<"
        return np.frombuffer(found[0] + b"\0" * (len(found[0]) % 2), f"{order}u2").astype(np.uint16)
    try:
        numbers_found = np.array(found, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    if numbers_found.ndim != 1 or not numbers_found.size:
        return None
    return (numbers_found & 0xFFFF).astype(np.uint16)
