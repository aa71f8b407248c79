"""What a page shows of a search: the cards, the sentence above them, and where the search stands in the address.

The tab shows the first hits of a search, and the page asks a route for those that follow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.search.hits import doubt
from roco_search.system.text import printable
from roco_search.web import markup
from roco_search.web.asking import PAGE, Conditions, Query, write_address

if TYPE_CHECKING:
    from markupsafe import Markup

    from roco_search.search import Hit
    from roco_search.web.asking import Found
    from roco_search.web.backend import Desk


@dataclass(frozen=True, slots=True)
class Results:
    """The cards of some hits, as HTML; how many hits the page shows with them; whether there are more; what is said."""

    found: Found
    cards: Markup
    shown: int
    said: str
    address: str

    @property
    def gallery(self) -> Markup:
        """The whole gallery, if these are the first hits."""
        return markup.gallery(self.cards, self.said, self.address, more=self.found.more)


def results(desk: Desk, query: Query, conditions: Conditions, *, n: int = PAGE, offset: int = 0) -> Results:
    """Return what a page shows of a search: `n` hits after the first `offset`.

    Raises
    ------
    InputError
        If a filter names something that the library does not have, or the picture to compare with is gone.
    """
    ask = desk.find if query.asks else desk.browse
    with desk.precedence.search():
        found = ask(query, conditions, n=n, offset=offset)
        cards = markup.cards(desk, found, _headings(desk, query, found))
    shown = offset + len(found.hits)
    return Results(found, cards, shown, _sentence(desk, query, found, shown), write_address(query, conditions, shown))


def _sentence(desk: Desk, query: Query, found: Found, shown: int) -> str:
    if not shown:
        return "No image matches all of these filters; remove one."
    if not query.asks:
        order = {"newest": "the last indexed first", "folder": "by folder"}
        return f"{shown} of {found.total:,} images, {order.get(query.order, 'by modality and body part')}."
    what = "images, the best first"
    if found.hits and all(hit.match in {"weak", "none"} for _, hit in found.hits):
        what = "images; nothing here fits well, and these are the nearest"
    if query.like is not None and query.upload is None and (frame := desk.frame(query.like)) is not None:
        what = f"images like {desk.name(frame.path)}"
    if query.plus or query.minus:
        what += f"; {len(query.plus)} marked as wanted, {len(query.minus)} as unwanted"
    folded = sum(hit.folded for _, hit in found.hits)
    twins = f" Near-duplicates left out: {folded}." if folded else ""
    doubted = doubt([hit for _, hit in found.hits])
    return f"{shown} of {found.total:,} {what}, in {found.seconds:.2f} s.{twins}{f' {doubted}' if doubted else ''}"


def _headings(desk: Desk, query: Query, found: Found) -> list[str]:
    """Return what stands above each card where it differs from the one before: its folder or kind, or nothing."""
    if query.asks or query.order == "newest":
        return [""] * len(found.hits)
    if query.order == "folder":
        return [_folder(desk, hit) for _, hit in found.hits]
    return [markup.kind(hit) for _, hit in found.hits]


def _folder(desk: Desk, hit: Hit) -> str:
    folder = os.path.dirname(hit.path)  # noqa: PTH120 - a name that need not be UTF-8
    if desk.redact_paths:
        return f"folder {desk.name(folder)}"
    return printable("/".join(Path(folder).parts[-2:]))
