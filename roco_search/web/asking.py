"""What a page asks of the library and what it is answered, as plain values, and how a question stands in an address.

An address names pictures and folders by the library's own numbers and keys, never by path. A dropped picture stands
there as a token, which is good for as long as `web.brought` keeps that picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args
from urllib.parse import parse_qs, urlencode

from roco_search.errors import InputError
from roco_search.search.browsing import Order

if TYPE_CHECKING:
    from roco_search.search import Hit, Understood
    from roco_search.web.brought import Brought, Upload

Values = tuple[str, ...]

PAGE = 24  # hits at once: rows of three, four, six and eight come out even
MOST_SHOWN = 240  # hits that a reloaded page shows at once; it loads the others when they come into sight
MOST_LETTERS = 1000  # of a query
MOST_FED = 50  # images that the hits should be more like, or less
LONGEST = 8000  # characters of an address
_LISTS = {"modality": "modality", "body": "body_part", "view": "view", "folder": "folder"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """The filters and options of a search, as the tab sets them; `folder` holds keys of `Folder`."""

    modality: Values = ()
    body_part: Values = ()
    view: Values = ()
    folder: Values = ()
    guess: bool = False
    per_series: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: a text, an upload, or both; or the id of a frame whose like is wanted.

    The frames in `plus` were marked as wanted, those in `minus` as unwanted; the hits are ranked with that.

    A `verbatim` text is taken as it was typed, without being read. Where nothing is asked, the library is shown in an
    `order`.
    """

    text: str = ""
    upload: Upload | None = None
    like: int | None = None
    verbatim: bool = False
    order: Order = "newest"
    plus: tuple[int, ...] = ()
    minus: tuple[int, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether anything is looked for."""
        return bool(self.text.strip() or self.plus) or self.upload is not None or self.like is not None

    @property
    def asks_more(self) -> bool:
        """Whether marks say more than what is asked; without anything else, they are what is asked."""
        begun = bool(self.text.strip()) or self.upload is not None or self.like is not None
        return begun and bool(self.plus or self.minus)


@dataclass(frozen=True, slots=True)
class Found:
    """Hits with the ids of their frames, whether there may be more, the seconds it took, and the library's size.

    `understood` is what was read out of the text; None for a query without one, or one that is taken as it was typed.
    """

    hits: list[tuple[int, Hit]]
    more: bool
    seconds: float
    total: int
    understood: Understood | None = None


def write_address(query: Query, conditions: Conditions, shown: int = PAGE) -> str:
    """Return a search as the query of an address (RFC 3986, 3.4), "" for a page on which nothing was asked.

    `shown` is how many hits the page shows.
    """
    pairs: list[tuple[str, str]] = []
    if query.text.strip():
        pairs.append(("q", query.text.strip()))
    if query.verbatim:
        pairs.append(("exact", "1"))
    if query.upload is not None:
        pairs.append(("upload", query.upload.token))
    if query.like is not None:
        pairs.append(("like", str(query.like)))
    pairs += [("plus", str(number)) for number in query.plus] + [("minus", str(number)) for number in query.minus]
    if not query.asks and query.order != "newest":
        pairs.append(("order", query.order))
    for name, attribute in _LISTS.items():
        pairs += [(name, value) for value in getattr(conditions, attribute)]
    if conditions.guess:
        pairs.append(("guess", "1"))
    if not conditions.per_series:
        pairs.append(("every", "1"))
    if shown > PAGE:
        pairs.append(("shown", str(shown)))
    return urlencode(pairs)


def read_address(address: str, brought: Brought) -> tuple[Query, Conditions, int]:
    """Return what an address asks for, and how many hits to show. What it does not know, it passes over.

    Raises
    ------
    InputError
        If a number in it is none, or the picture that it names is no longer kept.
    """
    fields = parse_qs(address.removeprefix("?")[:LONGEST], errors="replace", max_num_fields=None)

    def one(name: str) -> str:
        return fields.get(name, [""])[0]

    order = one("order") or "newest"
    query = Query(
        text=one("q")[:MOST_LETTERS],
        upload=brought.find(token) if (token := one("upload")) else None,
        like=_number(one("like")),
        verbatim=one("exact") == "1",
        order=cast("Order", order if order in get_args(Order) else "newest"),
        plus=_numbers(fields.get("plus", [])),
        minus=_numbers(fields.get("minus", [])),
    )
    lists = {attribute: tuple(fields.get(name, [])) for name, attribute in _LISTS.items()}
    conditions = Conditions(**lists, guess=one("guess") == "1", per_series=one("every") != "1")
    return query, conditions, max(PAGE, min(_number(one("shown")) or PAGE, MOST_SHOWN))


def _numbers(texts: list[str]) -> tuple[int, ...]:
    found = dict.fromkeys(number for text in texts[:MOST_FED] if (number := _number(text)) is not None)
    return tuple(found)


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InputError("This address is not one that the page wrote; start anew from the first page.")
    return int(text)
