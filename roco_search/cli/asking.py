"""What a query's command line asks: its terms, a file of queries, a probe or marks; and what is done with the hits."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.cli.output import say
from roco_search.cli.usage import refuse
from roco_search.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from roco_search.library import Library
    from roco_search.search import Hit, Term

    Find = Callable[..., list[Hit]]


def read_terms(words: list[str], plus: list[str], minus: list[str], *, text: bool, alone: bool = False) -> list[Term]:
    """Return the terms of a command line; none only where a query can do `alone` without."""
    from roco_search.search import read_query

    if not (words or plus or minus):
        if alone:
            return []
        refuse('No query is given; write what to look for, such as "pleural effusion" or ./case.dcm.')
    if not all(word.strip() for word in words):
        refuse('The text is empty; write what to look for, such as "chest X-ray".')
    return read_query(words, plus, minus, text=text)


def refuse_beside_queries(shape: str, **others: object) -> None:
    """Refuse what a file of queries leaves no room for."""
    given = [name if name.isupper() else f"--{name.replace('_', '-')}" for name, value in others.items() if value]
    if shape not in {"table", "jsonl"}:
        given.append(f"--{shape}")
    if given:
        refuse(f"--queries reads every query from its file and prints JSON Lines; leave out {given[0]}.")


def read_lines(file: Path) -> list[str]:
    """Return the lines of a file, or of the standard input, that are not empty."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); check the path.") from None
    lines = [line.strip() for line in data.decode("utf-8-sig", "surrogateescape").split("\n")]
    if not any(lines):
        raise InputError(f"{file} contains no query; write one on each line.")
    return [line for line in lines if line]


def check_marks(shape: str, *, mark: bool, session: str | None, **others: object) -> None:
    """Refuse what ``--mark``, which asks at the terminal, has no use for, and ``--session`` without it."""
    if not mark:
        if session is not None:
            refuse("--session names the marks of --mark; add that.")
        return
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value]
    if shape != "table":
        given.append(f"--{shape}")
    if given:
        refuse(f"--mark begins with words or an image, and asks at the terminal; leave out {given[0]}.")


def taught(opened: Library, find: Find, where: Sequence[str], probe: str | None) -> Find:
    """Return a search that meets conditions on probabilities, and is ranked by a probe."""
    if where:
        from roco_search.probe import applying

        find = partial(find, among=applying.where(opened, where))
    if probe is not None:
        from roco_search.probe.ranking import ranked_by

        find = partial(ranked_by, opened, probe, find)
    return find


def deliver(hits: list[Hit], terms: list[Term], html: Path | None, copy_to: Path | None, open_first: bool) -> None:
    """Do with hits what was asked for besides printing them."""
    if html is not None:
        from roco_search.cli.render.contact_sheet import write_contact_sheet

        write_contact_sheet(html, hits, terms)
        say(f"{html} contains {len(hits)} images; protect it as you protect the originals.")
    if copy_to is not None:
        from roco_search.curation.delivery import copy_files

        say(f"{copy_files([(hit.rank, hit.path) for hit in hits], copy_to)} files copied to {copy_to}.")
    if open_first and hits:
        from roco_search.curation.delivery import open_file

        open_file(hits[0].path)
