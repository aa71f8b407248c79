"""How hits are printed, for people and for pipes."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

from roco_search.cli.output import (
    path_cell,
    print_csv,
    print_json,
    print_jsonl,
    print_line,
    print_paths,
    print_rows,
    say,
    table_width,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from roco_search.cli.tables import Cell
    from roco_search.search import Hit


def show(
    hits: Sequence[Hit],
    shape: str = "table",
    draw: Callable[[Sequence[Hit]], None] | None = None,
    *,
    explain: bool = False,
) -> None:
    """Print hits, the best first.

    Parameters
    ----------
    hits
        What was found.
    shape
        "table", "json", "jsonl", "csv", "paths" or "print0".
    draw
        Prints them with their pictures, instead of the table.
    explain
        Print below the table why each is a hit.
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

        print_csv(Columns.__slots__, (_cells(hit) for hit in hits))
    elif shape in {"paths", "print0"}:
        print_paths((hit.path for hit in hits), b"\0" if shape == "print0" else b"\n")
    elif draw is not None:
        draw(hits)
    elif hits:
        from roco_search.search.hits import doubt

        if all(hit.match in {"weak", "none"} for hit in hits):
            say("Nothing here fits well; the nearest are:")
        if doubted := doubt(hits):
            say(doubted)
        _table(hits)
        if explain:
            for hit in hits:
                print_line(f"{hit.rank}  {why(hit)}")


def _cells(hit: Hit) -> list[object]:
    """Return a hit as cells of CSV: what is not one value is JSON."""
    values = (getattr(hit, name) for name in hit.__slots__)
    return [_as_text(value) if isinstance(value, (tuple, dict)) else value for value in values]


def _as_text(value: object) -> str:
    import json

    def plain(item: object) -> object:
        return asdict(item) if is_dataclass(item) and not isinstance(item, type) else item

    return json.dumps([plain(item) for item in value] if isinstance(value, tuple) else value, ensure_ascii=False)


def _table(hits: Sequence[Hit]) -> None:
    shown = _columns(hits, " (guess)")
    if narrow := not _fits(shown):
        shown = _columns(hits, "?")
    rows = [list(row) for row in zip(*(column for _, column in shown), strict=True)]
    print_rows([name for name, _ in shown], rows, right=("#", "score", "probability", "frame", "group"))
    if narrow and any(str(cell).endswith("?") for row in rows for cell in row):
        say("A question mark is a guess of the model: the header says nothing.")
    if folded := sum(hit.folded for hit in hits):
        say(f"Not shown: near-duplicates of these ({folded}); --no-fold shows them.")


def _columns(hits: Sequence[Hit], mark: str) -> list[tuple[str, list[Cell]]]:
    """Return the columns that say anything, with their heads; `mark` follows what the model guesses."""
    cells: list[tuple[str, list[Cell]]] = [
        ("#", [str(hit.rank) for hit in hits]),
        ("score", [f"{hit.score:.3f}" for hit in hits]),
        ("probability", ["" if hit.probability is None else f"{hit.probability:.3f}" for hit in hits]),
        ("match", [hit.match or "" for hit in hits]),
        ("modality", [modality(hit, mark) for hit in hits]),
        ("body part", [body_part(hit, mark) for hit in hits]),
        ("frame", [frame(hit) for hit in hits]),
        ("group", [group(hit) for hit in hits]),
        ("image", [path_cell(hit.path) for hit in hits]),
    ]
    return [(name, column) for name, column in cells if any(cell not in {"", "–"} for cell in column)]


def _fits(shown: Sequence[tuple[str, Sequence[Cell]]]) -> bool:
    """Whether the terminal has room for every column but the last as it is, and for a shortened path in that."""
    from roco_search.cli.tables import GAP, LEAST_PATH

    width = table_width()
    wide = sum(GAP + max(len(name), *(len(str(cell)) for cell in column)) for name, column in shown[:-1])
    return width is None or wide + LEAST_PATH <= width


def why(hit: Hit) -> str:
    """Return the reasons for a hit in one line, such as ``CT, HEAD in the header; haemorrhage 0.31``."""
    from roco_search.search.hits import reasons

    return "; ".join(reasons(hit)) or f"cosine {hit.score:.3f}"


def modality(hit: Hit, mark: str = " (guess)") -> str:
    """Return the modality for a person, marked where it is a guess."""
    taken = None if hit.modality else (hit.taken_for or {}).get("modality")
    return _known(hit.modality or taken, mark if hit.modality_guessed or taken else "")


def body_part(hit: Hit, mark: str = " (guess)") -> str:
    """Return the body part for a person, marked where it is a guess."""
    taken = None if hit.body_part else (hit.taken_for or {}).get("body_part")
    taken = None if taken == "no body part" else taken
    return _known((hit.body_part or taken or "").lower() or None, mark if hit.body_part_guessed or taken else "")


def frame(hit: Hit) -> str:
    """Return which slice of a volume, or which frame of how many, counted from 1; nothing for a file with one."""
    if hit.slice is not None and hit.view is not None:
        return f"{hit.view.lower()} {hit.slice}"
    return f"{hit.frame + 1}/{hit.frames}" if hit.frames > 1 else ""


def group(hit: Hit) -> str:
    """Return how many others of its group there are."""
    return f"+{hit.more} more" if hit.more else ""


def _known(value: str | None, mark: str) -> str:
    return "–" if value is None else f"{value}{mark}"
