"""What can be done with chosen images: open one here; paths, a table, a sheet, copies and cohorts of a tray; marks.

The page names images by id only. The one path that it may name is the folder that copies go to, and only where no
other machine reaches the demo.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request

from roco_search.curation.cohorts.cohort import Definition, gather, keys_of
from roco_search.curation.cohorts.shelf import SHELF
from roco_search.curation.delivery import copy_files
from roco_search.errors import InputError, RocoError
from roco_search.figures.contact_sheet import Card, contact_sheet
from roco_search.imaging.walk import is_below
from roco_search.system.text import printable
from roco_search.vocabulary.concepts import spoken_term
from roco_search.web.asking import LONGEST, read_address
from roco_search.web.http.handover import open_here
from roco_search.web.marks import check_new, keep_marks, teach_marks

if TYPE_CHECKING:
    from fastapi import FastAPI

    from roco_search.library import Library, StoredFrame
    from roco_search.web.backend import Desk
    from roco_search.web.http.handover import Handover

MOST = 1_000  # images of a tray
COLUMNS = (
    "path",
    "frame",
    "frames",
    "modality",
    "body_part",
    "view",
    "laterality",
    "rows",
    "columns",
    "series",
    "study",
)
Work = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a page sent: the ids of images; the folder for copies, or the name of what is to be kept, if any."""

    ids: list[int]
    folder: str = ""
    name: str = ""
    address: str = ""

    @classmethod
    def read(cls, body: bytes) -> Chosen:
        """Read the message of a page.

        Raises
        ------
        InputError
            If it is none, or names no image or too many.
        """
        try:
            sent = json.loads(body)
            ids = sent["ids"]
            said = [sent.get(name, "") for name in ("folder", "name", "address")]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            ids, said = None, []
        whole = isinstance(ids, list) and all(type(number) is int and 0 <= number < 10**18 for number in ids)
        if not whole or not all(isinstance(text, str) and len(text) <= LONGEST for text in said):
            raise InputError("That is no message of this page; reload it.")
        if not ids or len(ids) > MOST:
            raise InputError(f"Choose between 1 and {MOST:,} images.")
        return cls(list(dict.fromkeys(ids)), *said)


def add_tray_routes(app: FastAPI, desk: Desk, handover: Handover, work: Work) -> None:
    """Add the routes under ``/roco/chosen`` and ``/roco/open`` to an app; `work` runs a task in the rendering threads.

    For the other parameters see `roco_search.web.http.routes.add_routes`.
    """
    from fastapi import HTTPException, Response

    async def answer(request: Request, task: Callable[..., str], *more: Any) -> str:
        try:
            return str(await work(task, desk, Chosen.read(await request.body()), *more))
        except RocoError as error:
            raise HTTPException(422, str(error)) from None

    @app.post("/roco/open/{frame_id}")
    async def opened(frame_id: int, request: Request) -> dict[str, str]:
        if not handover.local or "x-forwarded-for" in request.headers:
            raise HTTPException(403, "Only a demo that no other computer reaches opens files on this one.")
        if (frame := desk.frame(frame_id)) is None:
            raise HTTPException(404, "The library has no such image.")
        try:
            await work(open_here, frame.path)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        return {"said": "It opens in this system's own viewer."}

    @app.post("/roco/chosen/names")
    async def names(request: Request) -> dict[str, Any]:
        return {"names": json.loads(await answer(request, names_of))}

    @app.post("/roco/chosen/paths")
    async def paths(request: Request) -> dict[str, str]:
        if desk.redact_paths or handover.public:
            raise HTTPException(403, "Paths are not shown here.")
        return {"text": await answer(request, paths_of)}

    @app.post("/roco/chosen/csv")
    async def table(request: Request) -> Response:
        return Response(await answer(request, table_of, handover.public), media_type="text/csv; charset=utf-8")

    @app.post("/roco/chosen/sheet")
    async def sheet(request: Request) -> Response:
        return Response(await answer(request, sheet_of, handover.public), media_type="text/html; charset=utf-8")

    @app.post("/roco/chosen/copy")
    async def copied(request: Request) -> dict[str, str]:
        if not handover.local or desk.redact_paths or "x-forwarded-for" in request.headers:
            raise HTTPException(403, "Only a demo that no other computer reaches copies files on this one.")
        return {"said": await answer(request, copies_of)}

    def keeps(what: str, task: Callable[..., str], done: str) -> None:
        @app.post(f"/roco/chosen/{what}")
        async def kept(request: Request) -> dict[str, str]:
            if not handover.local or "x-forwarded-for" in request.headers:
                raise HTTPException(403, f"Only a demo that no other computer reaches {done}.")
            return {"said": await answer(request, task)}

    keeps("cohort", cohort_of, "keeps cohorts")
    keeps("session", session_of, "keeps marks")
    keeps("probe", probe_of, "teaches probes")


def frames_of(desk: Desk, chosen: Chosen) -> list[StoredFrame]:
    """Return what is stored of the chosen images, in their order; those that are gone are left out.

    Raises
    ------
    InputError
        If none of them is in the library.
    """
    found = desk.ask(lambda library: library.frames.get(chosen.ids))
    if not found:
        raise InputError("None of these images is in the library any more; search again.")
    return [found[number] for number in chosen.ids if number in found]


def names_of(desk: Desk, chosen: Chosen) -> str:
    """Return, as JSON, the ids of the chosen images that the library still has, each with its name, in their order."""
    return json.dumps([[frame.id, desk.name(frame.path)] for frame in frames_of(desk, chosen)])


def paths_of(desk: Desk, chosen: Chosen) -> str:
    """Return the paths of the chosen images, one a line, each file once."""
    return "\n".join(dict.fromkeys(printable(frame.path) for frame in frames_of(desk, chosen)))


def table_of(desk: Desk, chosen: Chosen, hidden: bool) -> str:
    """Return the chosen images as CSV (RFC 4180): `COLUMNS`, `frame` counted from 0, hashes for hidden paths."""
    lines = io.StringIO()
    table = csv.writer(lines)
    table.writerow(COLUMNS)
    for frame in frames_of(desk, chosen):
        path = desk.name(frame.path) if hidden or desk.redact_paths else printable(frame.path)
        table.writerow([path, *(getattr(frame, name) for name in COLUMNS[1:])])
    return lines.getvalue()


def sheet_of(desk: Desk, chosen: Chosen, hidden: bool) -> str:
    """Return the contact sheet of the chosen images, a page that holds them itself."""
    frames = frames_of(desk, chosen)
    cards = []
    for number, frame in enumerate(frames, 1):
        terms = {name: getattr(frame, name) for name in ("modality", "body_part", "view")}
        known = [spoken_term(name, term) for name, term in terms.items() if term]
        known += [f"frame {frame.frame + 1}/{frame.frames}"] if frame.frames > 1 else []
        shown = desk.name(frame.path) if hidden or desk.redact_paths else None
        cards.append(Card(frame.path, frame.frame, f"{number}.", " · ".join(known), shown))
    return contact_sheet(cards, "Chosen images", f"{len(cards)} images, in the order in which they were chosen.")


def session_of(desk: Desk, chosen: Chosen) -> str:
    """Keep the marks of an address as a session, and say what can be done with it."""
    name = keep_marks(desk, read_address(chosen.address, desk.brought)[0], chosen.name.strip())
    command = f"roco probe fit NAME --from-marks {shlex.quote(name)}"
    return f"Kept as the session {name!r}; `{command}` makes a probe of it."


def probe_of(desk: Desk, chosen: Chosen) -> str:
    """Teach a probe from the marks of an address, and say what it may claim and what can be done with it."""
    name = chosen.name.strip()
    probe = teach_marks(desk, read_address(chosen.address, desk.brought)[0], name)
    value, low, high = probe.claims[0].head["auc"]
    said = f"The probe {name!r} is taught: AUC {value:.2f} ({low:.2f} to {high:.2f}) on marks that it had not seen; "
    said += f"`roco query --probe {shlex.quote(name)}` ranks by it."
    return " ".join([said, *probe.caveats()])


def cohort_of(desk: Desk, chosen: Chosen) -> str:
    """Keep the chosen images as a cohort under a name, and say what can be done with it."""
    name = SHELF.check_name(chosen.name.strip())

    def keep(library: Library) -> int:
        check_new(SHELF, library, name)
        made = gather(library, name, Definition(picked=keys_of(library, chosen.ids)))
        SHELF.keep(library, made)
        return len(made.members)

    frames_of(desk, chosen)
    count = desk.ask(keep)
    images = "1 image" if count == 1 else f"{count:,} images"
    return f"Kept as the cohort {name!r}, {images}; `roco cohort export {shlex.quote(name)} FOLDER` writes it."


def copies_of(desk: Desk, chosen: Chosen) -> str:
    """Copy the files of the chosen images to the folder, which is created, and say how many there are."""
    folder = Path(chosen.folder.strip()).expanduser() if "\0" not in chosen.folder else Path()
    if not folder.is_absolute():
        raise InputError("Write the whole path of a folder on this computer, such as ~/chosen.")
    if is_below(os.path.realpath(folder), desk.ask(lambda library: os.path.realpath(library.directory))):
        raise InputError(f"{folder} is in the library's own folder; choose one elsewhere.")
    frames = frames_of(desk, chosen)
    count = copy_files([(number, frame.path) for number, frame in enumerate(frames, 1)], folder)
    return f"{count} {'file was' if count == 1 else 'files were'} copied to {printable(str(folder))}."
