"""``roco status``: what the library contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roco_search.cli.options import JsonOption, LibraryOption
from roco_search.cli.output import path_cell, print_facts, print_json, print_line, print_rows
from roco_search.system.text import size

if TYPE_CHECKING:
    from roco_search.cli.tables import Cell
    from roco_search.library.reports import LibraryStatus


def status(library: LibraryOption = None, json: JsonOption = False) -> None:
    """Show what the library contains: folders, images, model, and every file that could not be read.

    Example: `roco status`
    """
    from roco_search.library import Library, default_library_path

    with Library.open(library or default_library_path()) as opened:
        found = opened.status()
    if json:
        print_json(found)
    else:
        show(found)


def show(found: LibraryStatus) -> None:
    """Print the status for a person."""
    facts: list[tuple[str, Cell]] = [("library", path_cell(found.library))]
    if found.shared:
        version = "" if found.shared.version is None else f", version {found.shared.version}"
        unsent = "; something has not been sent yet" if found.shared.pending else ""
        facts.append(("copy of", path_cell(found.shared.address)))
        facts.append(("pulled", f"{found.shared.pulled or 'never'}{version}{unsent}"))
    if found.model:
        facts.append(("model", f"{found.model.model} ({found.model.dim} dimensions)"))
    if found.pending:
        facts.append(("next model", f"{found.pending.model}, {found.pending.count:,} of {found.frames:,} embedded"))
    facts += [
        ("images", f"{found.frames:,} from {found.files:,} files"),
        ("on disk", f"{size(found.database_bytes)}, and {size(found.cache_bytes)} that can be rebuilt"),
        ("modalities", counts(found.modalities)),
        ("body parts", counts(found.body_parts)),
    ]
    if found.captions:
        facts.append(("captions", f"{found.captions:,}"))
    print_facts(facts)
    folders = [
        (f"{root.files:,}", path_cell(root.path, "" if root.present else "(does not exist now)"))
        for root in found.roots
    ]
    if folders:
        print_line()
        print_rows(("files", "folder"), folders, right=("files",))
    for title, entries in (("not readable", found.skipped), ("contains no picture", found.not_images)):
        if entries:
            print_line()
            print_rows((title, "reason"), [(path_cell(entry.path), entry.reason) for entry in entries])


def counts(values: dict[str, int]) -> str:
    """Return "CT 12, MR 3"."""
    return ", ".join(f"{name} {count:,}" for name, count in values.items()) or "none stated"
