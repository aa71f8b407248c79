"""The captions of an image, and the weight with which training draws each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

OWN_WEIGHT = 0.6
"""Of the data set's own caption, where there are others. They share the rest alike."""


def fold_text(value: Any) -> str:
    """Return a value as text: no space at its ends, one space wherever there was white space, a list with commas.

    Nothing (None, NaN, an empty list) is the empty text.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(fold_text, value)))
    text = " ".join(str(value).split())
    # JSON can write half a surrogate pair, which no tokenizer takes.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def read_captions(value: Any) -> list[str]:
    """Return the captions in a cell: one, or each of a list of them."""
    values = value if isinstance(value, list | tuple) else [value]
    return list(dict.fromkeys(filter(None, map(fold_text, values))))


def weigh(captions: Sequence[str], columns: Mapping[str, Any], extra: Sequence[str]) -> dict[str, float]:
    """Return every caption of an image with its weight; the weights add up to 1.

    Parameters
    ----------
    captions
        Those of the data set, its own first, at least one.
    columns, extra
        The other columns, and which of them are captions too. A list of words is one caption, joined by commas.

    Returns
    -------
    dict
        The own caption has `OWN_WEIGHT`, the others share the rest alike; alone, it has 1.
    """
    own, *others = captions
    others += [fold_text(columns.get(name)) for name in extra]
    distinct = [text for text in dict.fromkeys(others) if text and text != own]
    if not distinct:
        return {own: 1.0}
    return {own: OWN_WEIGHT, **dict.fromkeys(distinct, (1 - OWN_WEIGHT) / len(distinct))}
