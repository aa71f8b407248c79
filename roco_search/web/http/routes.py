"""Our own routes: pictures of the library and what is known of them, by id and never by path.

An id is the library's own number of a frame. Whatever else a request contains, the only file that is opened is the one
that the library has stored for this frame.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request

from roco_search.errors import ImageError, InputError, RocoError
from roco_search.imaging import Window, has_overlays, read_levels
from roco_search.imaging.dicom.levels import Levels
from roco_search.system.process import cores
from roco_search.system.text import printable
from roco_search.vocabulary.concepts import spoken_term
from roco_search.web import markup
from roco_search.web.asking import read_address
from roco_search.web.http.chosen import add_tray_routes
from roco_search.web.http.handover import Handover
from roco_search.web.http.pictures import SIZES, PictureCache, as_seen, placeholder, sight, with_heat
from roco_search.web.results import results

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from roco_search.library import StoredFrame
    from roco_search.web.backend import Desk, Neighbours

ASSETS = Path(__file__).parents[1] / "assets"
KINDS = {**dict.fromkeys(markup.SCRIPTS, "text/javascript"), "roco.css": "text/css"}
DEEPEST = 1_000_000  # hits after which a page shows no more
CT_WINDOWS = {
    # Centre and width in HU, as commonly set by hand.
    "soft tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (500.0, 2000.0),
    "brain": (40.0, 80.0),
    "mediastinum": (50.0, 350.0),
    "liver": (90.0, 150.0),
    "stroke": (35.0, 40.0),
}


def add_routes(app: FastAPI, desk: Desk, folder: Path, handover: Handover | None = None) -> None:
    """Add the routes under ``/roco`` to an app.

    Parameters
    ----------
    app
        The app, before anything is mounted at its root.
    desk
        Answers for the library.
    folder
        The run's private folder.
    handover
        What may be handed over to other programs; nothing by default.
    """
    import anyio
    from fastapi import HTTPException, Query, Response

    cache = PictureCache(folder / "pictures", give_way=desk.precedence.give_way)
    renderers = ThreadPoolExecutor(max(2, cores()), "roco-render", _give_way)

    async def work(task: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(renderers, task, *arguments)

    hands = handover or Handover(public=True)
    add_tray_routes(app, desk, hands, work)

    @app.get("/roco/image/{frame_id}.jpg")
    async def image(
        frame_id: int,
        size: int = 320,
        center: float | None = Query(None),
        width: float | None = Query(None),
        overlays: bool = False,
    ) -> Response:
        if size not in SIZES:
            raise HTTPException(422, f"The size must be one of {', '.join(map(str, SIZES))}.")
        if (center is None) != (width is None):
            raise HTTPException(422, "A window needs both a centre and a width.")
        try:
            window = None if center is None or width is None else Window(center, width)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        data, kind, status = await work(picture, desk, cache, frame_id, size, window, overlays)
        return Response(data, status, media_type=kind)

    @app.get("/roco/image/{frame_id}.png")
    async def seen(frame_id: int) -> Response:
        data, kind, status = await work(as_the_model_sees_it, desk, frame_id)
        return Response(data, status, media_type=kind)

    @app.get("/roco/image/{frame_id}.json")
    async def facts(frame_id: int) -> dict[str, Any]:
        found = await work(describe, desk, frame_id, hands)
        if found is None:
            raise HTTPException(404, "The library has no such image.")
        return dict(found)

    @app.get("/roco/hits.json")
    async def hits(request: Request, start: int = Query(0, alias="from", ge=0, le=DEEPEST)) -> dict[str, Any]:
        try:
            return await anyio.to_thread.run_sync(next_hits, desk, request.url.query, start)
        except RocoError as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/roco/heat/{frame_id}.png")
    async def heat(frame_id: int, text: str = Query(max_length=1000)) -> Response:
        if not text.strip():
            raise HTTPException(422, "A heat map needs the words that were searched for.")
        data, kind, status = await work(heat_of, desk, frame_id, text)
        return Response(data, status, media_type=kind)

    @app.get("/roco/map.json")
    async def points(request: Request, method: str = "pca", guess: bool = False) -> Response:
        try:
            found = await anyio.to_thread.run_sync(map_points, desk, method, guess)
        except RocoError as error:
            raise HTTPException(422, str(error)) from None
        data = json.dumps(found).encode()
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(data, media_type="application/json")
        return Response(gzip.compress(data, 5), media_type="application/json", headers={"content-encoding": "gzip"})

    @app.get("/roco/progress.json")
    async def progress() -> dict[str, int]:
        return {"done": desk.maps.rounds.done, "total": desk.maps.rounds.total}

    @app.get("/roco/assets/{name}")
    def asset(name: str) -> Response:
        if name not in KINDS:
            raise HTTPException(404)
        return Response((ASSETS / name).read_bytes(), media_type=KINDS[name])


def _give_way() -> None:
    """Lower the priority of this thread below that of a search, where threads have their own priority (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def next_hits(desk: Desk, address: str, start: int) -> dict[str, Any]:
    """Return the hits of an address after the first `start`: their cards as HTML, if there are more, what is said."""
    query, conditions, _ = read_address(address, desk.brought)
    answer = results(desk, query, conditions, offset=start)
    return {"cards": answer.cards, "more": answer.found.more, "said": answer.said, "shown": answer.shown}


def picture(
    desk: Desk, cache: PictureCache, frame_id: int, size: int, window: Window | None, overlays: bool
) -> tuple[bytes, str, int]:
    """Return a frame as a picture, or a placeholder with the reason; its media type; and the HTTP status."""
    frame = desk.frame(frame_id)
    if frame is None:
        return placeholder(None), "image/svg+xml", 404
    try:
        return cache.picture(frame, size, window, overlays=overlays), "image/jpeg", 200
    except ImageError as error:
        return placeholder(error), "image/svg+xml", 404


def as_the_model_sees_it(desk: Desk, frame_id: int) -> tuple[bytes, str, int]:
    """Return what the library's model was given of a frame, or a placeholder, as `picture` does."""
    frame = desk.frame(frame_id)
    if frame is None:
        return placeholder(None), "image/svg+xml", 404
    try:
        return as_seen(frame, desk.encoder), "image/png", 200
    except ImageError as error:
        return placeholder(error), "image/svg+xml", 404


def heat_of(desk: Desk, frame_id: int, text: str) -> tuple[bytes, str, int]:
    """Return a frame with the heat map of a text as a PNG, or a placeholder, as `picture` does."""
    frame = desk.frame(frame_id)
    if frame is None:
        return placeholder(None), "image/svg+xml", 404
    try:
        return with_heat(frame, desk.encoder, text), "image/png", 200
    except ImageError as error:
        return placeholder(error), "image/svg+xml", 404


def describe(desk: Desk, frame_id: int, handover: Handover) -> dict[str, Any] | None:
    """Return what the viewer shows beside a picture, as plain data; None if the library has no such id."""
    found = desk.neighbours(frame_id)
    if found is None:
        return None
    frame = found.frame
    try:
        levels, overlays = read_levels(frame.path, frame.frame), has_overlays(frame.path)
    except ImageError:
        levels, overlays = None, False
    return {
        "id": frame.id,
        "name": desk.name(frame.path),
        "modality": frame.modality and spoken_term("modality", frame.modality),
        "body_part": frame.body_part and spoken_term("body_part", frame.body_part),
        "guessed": desk.guessed(frame),
        "view": frame.view and spoken_term("view", frame.view),
        "laterality": frame.laterality,
        "frame": frame.frame + 1,
        "frames": frame.frames,
        "instance": frame.instance_number,
        "rows": frame.rows,
        "columns": frame.columns,
        "levels": levels and _levels(levels),
        "overlays": overlays,
        "seen": sight(desk.encoder),
        "path": None if desk.redact_paths or handover.public else printable(frame.path),
        "here": handover.local,
        "link": handover.link(frame),
        "beside": _beside(found),
    }


def _levels(levels: Levels) -> dict[str, Any]:
    return {
        "low": levels.low,
        "high": levels.high,
        "center": levels.window.center,
        "width": levels.window.width,
        "unit": "HU" if levels.hounsfield else "",
        "presets": CT_WINDOWS if levels.hounsfield else {},
    }


def _beside(found: Neighbours) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "place": found.place + 1,
        "count": found.count,
        "ids": [frame.id for frame in found.neighbours],
        "labels": [_label(frame) for frame in found.neighbours],
        "stack": found.ids,
        "first": found.first + 1,
    }


def _label(frame: StoredFrame) -> str:
    if frame.frames > 1:
        return f"frame {frame.frame + 1}"
    return f"image {frame.instance_number}" if frame.instance_number is not None else ""


def map_points(desk: Desk, method: str, guess: bool) -> dict[str, Any]:
    """Return the map as plain data: the point of each picture, and the groups of each colouring."""
    from roco_search.embedding_map import colours
    from roco_search.embedding_map.drawing import METHODS, TITLES

    found = desk.maps.get(method, guess=guess)  # type: ignore[arg-type]
    colourings = {}
    for color, title in TITLES.items():
        groups = found.groups(color)
        names = [printable(name) for name in groups.names]
        if desk.redact_paths and color == "folder":
            names = [f"folder {number}" for number in range(1, len(names) + 1)]
        colourings[color] = {
            "title": title,
            "names": names,
            "counts": groups.counts,
            "colours": colours(groups.names),
            "of": groups.of.tolist(),
        }
    points = found.projection.points
    return {
        "ids": found.ids.tolist(),
        "x": points[:, 0].round(4).tolist(),
        "y": points[:, 1].round(4).tolist(),
        "regions": [{"x": round(one.x, 4), "y": round(one.y, 4), "name": one.name} for one in found.regions()],
        "stretched": found.projection.explained is None,
        "total": found.total,
        "about": METHODS[found.projection.method],
        "colourings": colourings,
    }
