"""Licences as data sets write them, read as codes that can be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from roco_search.datasets.pair import Row
from roco_search.errors import InputError

NOT_STATED = "not stated"
_LISTED = 12  # licences that a message lists
_NOTHING = frozenset({"", "none", "nan", "null", "na", "n/a", "unknown", "unclear"})
_REMARK = re.compile(r"[(\[;,|]")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")
_ADDRESS = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)(?:/(\d[\d.]*))?")
# Of "Creative Commons Attribution-NonCommercial 4.0 International License" the code is what these leave.
_WORDS = (
    (re.compile(r"creative[ -]commons"), "cc"),
    (re.compile(r"non[ -]?commercial"), "nc"),
    (re.compile(r"share[ -]?alike"), "sa"),
    (re.compile(r"no[ -]?deriv(?:ative)?s?(?:[ -]works)?"), "nd"),
    (re.compile(r"attribution"), "by"),
    (re.compile(r"\bcc[ -]zero\b"), "cc0"),
)
_FILLERS = frozenset({"license", "licence", "international", "unported", "generic", "universal", "igo", "the"})


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence by its code, such as ``cc-by-nc``, with the version where one is stated."""

    code: str
    version: str | None = None

    def allows(self, other: Licence | None) -> bool:
        """Return whether `other` is this licence; the version counts only where this one states it."""
        return other is not None and self.code == other.code and self.version in (None, other.version)


@lru_cache(maxsize=4096)
def parse_licence(statement: str | None) -> Licence | None:
    """Read a statement of a licence by its beginning; None where it states none.

    Case, spaces and hyphens do not matter, nor does a remark behind a bracket, a comma or a semicolon.

    >>> parse_licence("CC BY 4.0 (badge in the README)"), parse_licence("not stated (article CC BY)")
    (Licence(code='cc-by', version='4'), None)
    """
    text = (statement or "").casefold().strip()
    if found := _ADDRESS.search(text):
        kind = {"zero": "cc0", "mark": "public-domain"}.get(found[1], f"cc-{found[1]}")
        return Licence(kind, _short(found[2]))
    text = _REMARK.split(text, maxsplit=1)[0].strip()
    if text in _NOTHING or text.startswith(NOT_STATED):
        return None
    for pattern, code in _WORDS:
        text = pattern.sub(f" {code} ", text)
    version, words = None, []
    for word in re.findall(r"[^\W_]+(?:\.[^\W_]+)*", text):
        if number := _VERSION.fullmatch(word):
            version = version or _short(number[1])
        elif word not in _FILLERS:
            words.append(word)
    if words[:1] == ["by"]:
        words.insert(0, "cc")
    return Licence("-".join(words), version) if words else None


def _short(version: str | None) -> str | None:
    return re.sub(r"(?:\.0)+$", "", version.rstrip(".")) if version else None


def label_licence(statement: str | None) -> str:
    """Return how a report refers to a licence: the statement without its remarks, or "not stated"."""
    if parse_licence(statement) is None:
        return NOT_STATED
    assert statement is not None
    return _REMARK.split(statement, maxsplit=1)[0].strip() or statement.strip()


def count_licences(statements: Iterable[str | None]) -> str:
    """Return the licences of images with their counts, the most frequent first: "CC BY (12), not stated (3)"."""
    counts = Counter(map(label_licence, statements)).most_common()
    listed = ", ".join(f"{label} ({count:,})" for label, count in counts[:_LISTED])
    return f"{listed} and {len(counts) - _LISTED} more" if len(counts) > _LISTED else listed


def parse_codes(codes: Sequence[str]) -> list[Licence]:
    """Read the codes that a person asks for. Raises `InputError` for a text that is no licence."""
    found = []
    for code in codes:
        licence = parse_licence(code)
        if licence is None:
            raise InputError(f"{code!r} is no licence; name one by its code, such as 'CC BY'.")
        found.append(licence)
    return found


def check_codes(codes: Sequence[str], rows: Sequence[Row], label: str) -> None:
    """Refuse codes that are the licence of no row; ``label`` is how a message refers to the data set.

    Raises
    ------
    InputError
        If the data set states no licence at all, or one of the codes is the licence of none of the rows.
    """
    if not codes:
        return
    stated = {licence for row in rows if (licence := parse_licence(row.licence)) is not None}
    if not stated:
        raise InputError(
            f"{label} does not state the licence of any image; select the images yourself, and leave `licences` out."
        )
    for code, asked in zip(codes, parse_codes(codes), strict=True):
        if not any(map(asked.allows, stated)):
            raise InputError(
                f"No image of {label} is under the licence {code!r}; name one of those there are: "
                f"{count_licences(row.licence for row in rows)}."
            )
