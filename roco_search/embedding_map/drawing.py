"""A map as a figure, and as a page in which pointing at a point shows what it is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roco_search.embedding_map.layout import NOT_STATED, OTHERS, Color, EmbeddingMap
from roco_search.errors import ImageError, InputError
from roco_search.figures import PALETTE, data_uri, mark_safe, page, render, style, svg, write_page, write_png
from roco_search.figures.contact_sheet import thumbnail
from roco_search.imaging.ahead import read_ahead
from roco_search.system.progress import Progress, following

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure
    from PIL.Image import Image

KIND = "map"
PAGE_INCHES = (11.5, 6.0)  # of the figure on a page: about the shape of a window below its heading
PICTURE_SIDE = 96  # pixels of the small pictures: some 3 kB each
MOST_PICTURES = 5_000
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")  # shapes besides colours: a printer may have no colour
GREY, PALE = "#8a8a8a", "#bdbdbd"
TITLES: dict[Color, str] = {"modality": "modality", "body_part": "body part", "folder": "folder"}
METHODS = {
    "umap": "UMAP by cosine distance: points close together are alike; distances across the map mean little",
    "pca": "PCA: the two directions of largest variance",
}


def colours(names: list[str]) -> list[str]:
    """Return the colour of each group of a map."""
    own = iter(islice(cycle(PALETTE), len(names)))
    return [GREY if name == NOT_STATED else PALE if name == OTHERS else next(own) for name in names]


def figure(found: EmbeddingMap, color: Color, size_in_inches: tuple[float, float] = (8, 6)) -> Figure:
    """Draw a map with its legend."""
    groups = found.groups(color)
    points = found.projection.points
    size = max(3.0, min(30.0, 12_000 / max(1, len(points))))
    with style() as new:
        drawn: Figure = new(figsize=size_in_inches)
        axes = drawn.subplots()
        axes.set_title(f"{len(points):,} images by {TITLES[color]}")
        shares = found.projection.explained
        if shares is not None:  # axes that mean nothing take all of the room
            axes.set_aspect("equal", "datalim")
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            axis.set_ticks([])
            axes.spines["left" if name == "y" else "bottom"].set_visible(shares is not None)
            if shares is not None:
                number = "xy".index(name)
                axis.set_label_text(f"component {number + 1} ({shares[number]:.0%} of the variance)")
        for number, (name, colour) in enumerate(zip(groups.names, colours(groups.names), strict=True)):
            among = points[groups.of == number]
            plain = name in {NOT_STATED, OTHERS}
            axes.scatter(
                among[:, 0],
                among[:, 1],
                s=size,
                marker="o" if plain else MARKERS[number % len(MARKERS)],
                color=colour,
                linewidths=0,
                alpha=0.85,
                zorder=2 if plain else 3,
                label=f"{_shown(name)} ({groups.counts[number]:,})",
                gid=f"group-{number}",  # by which `_label` finds the points of a group
            )
        for number, region in enumerate(found.regions()):
            label = axes.text(
                region.x, region.y, _shown(region.name), ha="center", va="center", size="small", zorder=4,
                gid=f"region-{number}",
            )  # fmt: skip
            label.set_bbox({"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1})
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), markerscale=(40 / size) ** 0.5)
    return drawn


def map_page(
    found: EmbeddingMap,
    color: Color,
    title: str,
    *,
    redact_paths: bool = False,
    pictures: Sequence[str | None] = (),
) -> str:
    """Return a page with the map, in ASCII; pointing at a point shows what it is, and wheel and keys zoom.

    Parameters
    ----------
    found
        The map.
    color
        What the colours stand for.
    title
        Plain text.
    redact_paths
        Leave out file names, which may name patients.
    pictures
        What `small_pictures` returned, to be shown beside the names; none by default.
    """
    groups = found.groups(color)
    drawn = svg(figure(found, color, PAGE_INCHES))
    order: list[int] = []
    for number in range(len(groups.names)):
        members = [index for index, own in enumerate(groups.of.tolist()) if own == number]
        order += members
        drawn = _label(drawn, number, [tooltip(found, index, redact_paths=redact_paths) for index in members])
    body = render(
        "embedding_map/map.html",
        title=title,
        shown=f"{len(found.ids):,}" if found.total > len(found.ids) else None,
        total=f"{found.total:,}",
        method=METHODS[found.projection.method],
        guessed=found.guessed,
        drawn=drawn,
        color=TITLES[color],
        groups=[(name, f"{count:,}") for name, count in zip(groups.names, groups.counts, strict=True)],
        # In the order in which the points are drawn: no file's name is in it, and base64 needs no escape.
        pictures=mark_safe(json.dumps([pictures[index] for index in order])) if pictures else None,
        held=f"{sum(map(bool, pictures)):,}",
    )
    return page(KIND, title, body, (Path(__file__).parent / "map.js").read_text("ascii"))


def small_pictures(found: EmbeddingMap, progress: Progress | None = None) -> list[str | None]:
    """Return a small JPEG of each point's picture in base64; None where its file can no longer be read.

    Of a map with more than `MOST_PICTURES` points, every second, third and so on has one.

    Raises
    ------
    StorageFull
    """
    every = -(-len(found.frames) // MOST_PICTURES)
    wanted = list(range(0, len(found.frames), every or 1))

    def read(index: int) -> list[Image | str]:
        frame = found.frames[index]
        return [thumbnail(frame.path, frame.frame, PICTURE_SIDE)]

    drawn: list[str | None] = [None] * len(found.frames)
    with following(progress, len(wanted)) as bar, closing(read_ahead(wanted, read)) as pieces:
        for index, piece in pieces:
            bar.advance(1)
            if not isinstance(piece, str | ImageError):
                drawn[index] = data_uri(piece).partition(",")[2]
    return drawn


def write_map(
    path: Path,
    found: EmbeddingMap,
    color: Color,
    title: str,
    *,
    redact_paths: bool = False,
    force: bool = False,
    pictures: Sequence[str | None] = (),
) -> None:
    """Write a map as an ``.html`` page or a ``.png`` picture, readable by its owner alone, whole or not at all.

    For the parameters see `map_page`.

    Raises
    ------
    InputError
        If the name ends otherwise, the file cannot be written, or it exists already: a map page is overwritten by
        another, a picture only with `force`.
    """
    match path.suffix.lower():
        case ".html" | ".htm":
            write_page(path, KIND, map_page(found, color, title, redact_paths=redact_paths, pictures=pictures))
        case ".png":
            if path.exists() and not force:
                raise InputError(f"{path} exists, so it is kept; choose another name, or set `force=True`.")
            write_png(path, figure(found, color))
        case ending:
            raise InputError(f"A map is written as .html or .png, not as {ending or 'a file without an ending'}.")


def tooltip(found: EmbeddingMap, index: int, *, redact_paths: bool = False) -> str:
    """Return what is known of a point: file name, modality, body part and frame."""
    frame = found.frames[index]
    body_part = found.values["body_part"][index]
    facts: list[Any] = [
        None if redact_paths else os.path.basename(frame.path),  # noqa: PTH119 - a name that need not be UTF-8
        found.values["modality"][index],
        body_part and body_part.lower(),
        f"frame {frame.frame + 1} of {frame.frames}" if frame.frames > 1 else None,
    ]
    return " · ".join(str(fact) for fact in facts if fact) or "not stated"


def _shown(name: str) -> str:
    # matplotlib reads a dollar sign as mathematics, and hides a label that begins with an underscore.
    text = "".join(char if char.isprintable() else "�" for char in name).replace("$", r"\$")
    return text if len(text) <= 32 else f"…{text[-31:]}"


def _label(drawn: Markup, number: int, texts: list[str]) -> Markup:
    """Give each point of a group its title; matplotlib draws the points in the order in which it was given them."""
    start = drawn.index(f'id="group-{number}"')
    end = drawn.index("</g>\n  ", drawn.index("</defs>", start)) if texts else start
    before, *points = re.split(r"<use ([^>]*)/>", drawn[start:end])
    # After each point comes the blank space that separates it from the next.
    attributes, gaps = [mark_safe(text) for text in points[::2]], [mark_safe(text) for text in points[1::2]]
    titled = render("embedding_map/points.svg", points=zip(attributes, texts, gaps, strict=True))
    return drawn[:start] + mark_safe(before) + titled + drawn[end:]
