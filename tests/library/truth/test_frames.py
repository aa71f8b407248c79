"""Which pictures lie beside one: its series in the scanner's order, its file's frames, or its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from tests.imaging.drawing import draw_dicom, ramp
from tests.library.toy import Opened, draw, draw_pages


def beside(opened: Opened, path: Path, number: int = 0) -> list[tuple[str, int]]:
    chosen = opened.library.frames.id_of(str(path), number)
    assert chosen is not None
    (frame,) = opened.library.frames.get([chosen]).values()
    assert (frame.path, frame.frame) == (str(path), number)
    ids = opened.library.frames.beside(frame)
    assert frame.id in ids
    return [(Path(found.path).name, found.frame) for found in opened.library.frames.get(ids).values()]


def test_neighbours_of_a_picture(opened: Opened, scans: Path) -> None:
    series, other = generate_uid(), generate_uid()
    for name, number, uid in (("c", 1, series), ("a", 10, series), ("b", 2, series), ("d", 1, other)):
        draw_dicom(scans / name, ramp(), SeriesInstanceUID=uid, InstanceNumber=number)
    draw_pages(scans / "pages.tiff", range(3))
    for name in ("z.png", "y.png", "deeper/x.png", "deeper!/w.png"):
        draw(scans / name, int(np.frombuffer(name[:4].encode(), "u4")[0]))
    opened.index(scans, frames="all")
    assert beside(opened, scans / "a") == [("c", 0), ("b", 0), ("a", 0)], "by instance number, not by name"
    assert beside(opened, scans / "pages.tiff", 1) == [("pages.tiff", 0), ("pages.tiff", 1), ("pages.tiff", 2)]
    assert [name for name, _ in beside(opened, scans / "y.png")] == [
        "a", "b", "c", "d", "pages.tiff", "pages.tiff", "pages.tiff", "y.png", "z.png",
    ]  # fmt: skip
    assert beside(opened, scans / "deeper" / "x.png") == [("x.png", 0)]
    assert opened.library.frames.id_of(str(scans / "a"), 1) is None
    assert opened.library.frames.id_of("/nowhere", 0) is None
