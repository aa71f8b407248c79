"""``roco query``: find images in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roco_search.models.catalog import DEFAULT

from .output import DeviceOption, JsonOption, LibraryOption, checked_device, print_json, print_rows, short_path

if TYPE_CHECKING:
    from roco_search.search import Hit


def query(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the image shows.", show_default=False)],
    top: Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="How many hits.")] = 10,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Find the images of the library that are nearest to a text.

    The score is a cosine similarity: it ranks, it is not a probability.

    Example: `roco query "pleural effusion"`
    """
    from roco_search.library import Library, default_library_path
    from roco_search.models import load_encoder
    from roco_search.search import search

    if not text.strip():
        raise typer.BadParameter('the text is empty; write what to look for, such as "chest X-ray".')
    where = checked_device(device)
    with Library.open(library or default_library_path()) as opened:
        hits = search(opened, load_encoder(opened.model.model if opened.model else DEFAULT, where), [text], n=top)
    if json:
        print_json(hits)
    else:
        show(hits)


def show(hits: list[Hit]) -> None:
    """Print hits as a table, the best first."""
    many = any(hit.frames > 1 for hit in hits)
    columns = ["#", "score", "modality", "body part", *(["frame"] if many else []), "image"]
    rows = []
    for hit in hits:
        frame = [f"{hit.frame + 1}/{hit.frames}" if hit.frames > 1 else ""] if many else []
        known = [hit.modality or "–", (hit.body_part or "–").lower()]
        rows.append([str(hit.rank), f"{hit.score:.3f}", *known, *frame, short_path(hit.path)])
    print_rows(columns, rows, right=("#", "score", "frame"))
