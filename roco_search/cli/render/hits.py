"""How hits are printed, for people and for pipes."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

from roco_search.cli.output import path_cell, print_csv, print_json, print_jsonl, print_paths, print_rows, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from roco_search.cli.tables import Cell
    from roco_search.search import Hit


def show(hits: Sequence[Hit], shape: str = "table", draw: Callable[[Sequence[Hit]], None] | None = None) -> None:
    """Print hits, the best first.

    Parameters
    ----------
    hits
        What was found.
    shape
        "table", "json", "jsonl", "csv", "paths" or "print0".
    draw
        Prints them with their pictures, instead of the table.
    """
    if not hits:
        say("No image meets all of these conditions; leave out a filter, or lower --min-score or --offset.")
    if shape == "json":
        print_json(list(hits))
    elif shape == "jsonl":
        for hit in hits:
            print_jsonl(hit)
    elif shape == "csv":
        from roco_search.search import Hit as Columns

        print_csv(Columns.__slots__, (astuple(hit) for hit in hits))
    elif shape in {"paths", "print0"}:
        print_paths((hit.path for hit in hits), b"\0" if shape == "print0" else b"\n")
    elif draw is not None:
        draw(hits)
    elif hits:
        _table(hits)


def _table(hits: Sequence[Hit]) -> None:
    many, grouped = any(hit.frames > 1 for hit in hits), any(hit.more for hit in hits)
    columns = ["#", "score", "modality", "body part", *["frame"] * many, *["group"] * grouped, "image"]
    rows = []
    for hit in hits:
        row: list[Cell] = [str(hit.rank), f"{hit.score:.3f}", modality(hit), body_part(hit)]
        row += [frame(hit)] * many + [group(hit)] * grouped
        rows.append([*row, path_cell(hit.path)])
    print_rows(columns, rows, right=("#", "score", "frame", "group"))
    if folded := sum(hit.folded for hit in hits):
        say(f"Not shown: near-duplicates of these ({folded}); --no-fold shows them.")


def modality(hit: Hit) -> str:
    """Return the modality for a person, marked where it is a guess."""
    return _known(hit.modality, guessed=hit.modality_guessed)


def body_part(hit: Hit) -> str:
    """Return the body part for a person, marked where it is a guess."""
    return _known(hit.body_part and hit.body_part.lower(), guessed=hit.body_part_guessed)


def frame(hit: Hit) -> str:
    """Return which slice of a volume, or which frame of how many, counted from 1; nothing for a file with one."""
    if hit.slice is not None and hit.view is not None:
        return f"{hit.view.lower()} {hit.slice}"
    return f"{hit.frame + 1}/{hit.frames}" if hit.frames > 1 else ""


def group(hit: Hit) -> str:
    """Return how many others of its group there are."""
    return f"+{hit.more} more" if hit.more else ""


def _known(value: str | None, *, guessed: bool) -> str:
    if value is None:
        return "–"
    return f"{value} (guess)" if guessed else value
