"""How cohorts, and what has changed in them, are printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from roco_search.cli.output import path_cell, print_json, print_line, print_rows, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.cli.tables import Cell
    from roco_search.curation.cohorts.cohort import Changes, Cohort, Listed

SHOWN = 20  # images that a person is shown; --json has all


def given(cohort: Cohort) -> dict[str, object]:
    """Return what a definition says, without what it leaves open."""
    said = cohort.definition.plain().items()
    return {name: value for name, value in said if value is not None and value is not False and value != ()}


def given_words(cohort: Cohort) -> str:
    """Return the conditions of a cohort without a query, in one line: "modality MR, where effusion>0.8"."""
    said = {name: value for name, value in given(cohort).items() if (name, value) != ("group_by", "none")}
    return ", ".join(f"{name.replace('_', ' ')} {as_text(value)}" for name, value in said.items())


def facts_of(cohort: Cohort) -> dict[str, object]:
    """Return a cohort as JSON, with the number of its images in place of these."""
    facts = {name: value for name, value in asdict(cohort).items() if name != "members"}
    return {**facts, "definition": cohort.definition.plain(), "images": len(cohort.members)}


def entry_of(entry: Listed) -> dict[str, object]:
    """Return an image of a cohort as JSON."""
    return {**asdict(entry.frame), "score": entry.member.score, "match": entry.member.match}


def as_text(value: object) -> str:
    """Return a value of a definition for a person."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def table(listed: Sequence[Listed]) -> None:
    """Print the first images of a cohort."""
    rows: list[tuple[Cell, ...]] = [
        (
            "–" if entry.member.score is None else f"{entry.member.score:.3f}",
            entry.member.match or "–",
            entry.frame.modality or "–",
            (entry.frame.body_part or "–").lower(),
            path_cell(entry.frame.path),
        )
        for entry in listed[:SHOWN]
    ]
    if rows:
        print_rows(("score", "match", "modality", "body part", "image"), rows, right=("score",))
    if len(listed) > SHOWN:
        say(f"and {len(listed) - SHOWN:,} more; --json prints all.")


def show_changes(changes: Changes, *, json: bool, came: str, went: str, stayed: str = "in both") -> None:
    """Print what is different; `came`, `went` and `stayed` say what became of images, or where they are."""
    if json:
        print_json(
            {
                "came": [entry_of(entry) for entry in changes.came],
                "went": [entry_of(entry) for entry in changes.went],
                "gone": changes.gone,
                "stayed": changes.stayed,
            }
        )
        return
    for title, listed in ((came, changes.came), (went, changes.went)):
        if listed:
            print_line(f"{title}: {len(listed):,}")
            table(listed)
    lost = f", {changes.gone:,} no longer in the library" if changes.gone else ""
    say(f"{len(changes.came):,} {came}, {len(changes.went):,} {went}{lost}, {changes.stayed:,} {stayed}.")
