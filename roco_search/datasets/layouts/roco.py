"""ROCO as its repository lays it out (github.com/razorx89/roco-dataset, Pelka et al. 2018).

::

    data/{train,validation,test}/radiology/
        captions.txt     ROCO_00001 TAB SPACE caption
        keywords.txt     ROCO_00001 TAB TAB word TAB word …      (cuis.txt: the same with UMLS concepts)
        semtypes.txt     ROCO_00001 TAB T060 TAB Diagnostic Procedure TAB …
        licences.txt     ROCO_ID,PMC_ID,CC with a header
        images/          ROCO_00001.jpg

Some of the 81,825 images are no longer available from PubMed Central: a row without its image is left out and
counted.
"""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.datasets.files import FileIndex, leaves_folder, read_text
from roco_search.datasets.pair import DataSet, PictureFile, Row, fold_text
from roco_search.datasets.report import dataset_name, relative_name
from roco_search.datasets.splits import sort_splits
from roco_search.errors import InputError

LAYOUT = "ROCO"
_KIND = "radiology"
_INSIDE = ("", "data", "all_data")
_CAPTIONS = "captions.txt"


def find_roco(folder: Path) -> DataSet | None:
    """Find the splits of ROCO in its repository, in its data folder, or in the folder of one split."""
    folders: dict[str, Path] = {}
    for base in (folder / inside for inside in _INSIDE):
        folders = {path.parents[1].name: path.parent for path in base.glob(f"*/{_KIND}/{_CAPTIONS}")}
        if folders:
            break
    real = folder.resolve()  # "." has a name too then
    if not folders and (folder / _KIND / _CAPTIONS).is_file():
        folders = {real.name: folder / _KIND}
    if not folders and real.name == _KIND and (folder / _CAPTIONS).is_file():
        folders = {real.parent.name: folder}
    if not folders:
        return None
    splits = {name: partial(read_rows, folders[name], folder) for name in sort_splits(folders)}
    return DataSet(dataset_name(folder), LAYOUT, str(folder), splits)


def read_rows(folder: Path, root: Path) -> list[Row]:
    """Read one split.

    The columns of a row are ``id`` and, where their files exist, ``keywords``, ``cuis`` and ``semtypes`` (names of UMLS
    semantic types), each a list, ``licence`` (as in the file: "CC BY", "NO-CC CODE") and ``pmc_id``, the article, which
    is the case. Lines of another form are ignored; one of the captions is left out and counted.

    Raises
    ------
    InputError
        If a file cannot be read or is not UTF-8.
    """
    lists = {name: _read_lists(folder / f"{name}.txt") for name in ("keywords", "cuis", "semtypes")}
    licences = _read_licences(folder / "licences.txt")
    images = FileIndex(folder / "images")
    inside = relative_name(folder, root)
    prefix = "" if inside == "." else f"{inside}/"
    rows = []
    for number, line in enumerate(read_text(folder / _CAPTIONS).split("\n"), 1):
        if not line.strip():
            continue
        name, separator, caption = line.partition("\t")
        name = name.strip()
        if not separator or not name or leaves_folder(name):
            fault = "the line is not an id, a tab and a caption"
            rows.append(Row(f"{prefix}{_CAPTIONS} line {number}", None, (), fault=fault))
            continue
        image = images.find_image("", name)
        columns: dict[str, Any] = {"id": name}
        columns.update((kind, known.get(name, [])) for kind, known in lists.items() if known is not None)
        article = licence = None
        if licences is not None:
            article, licence = licences.get(name, (None, None))
            columns |= {"licence": licence, "pmc_id": article}
        text = fold_text(caption)
        rows.append(
            Row(
                f"{prefix}images/{image.name if image else f'{name}.jpg'}",
                PictureFile(image) if image else None,
                (text,) if text else (),
                columns,
                article,
                licence,
            )
        )
    return rows


def _read_lists(path: Path) -> dict[str, list[str]] | None:
    """Return the values of each id; None if the file does not exist."""
    if not path.is_file():
        return None
    # A semantic type is written as its number, then its name.
    step = 2 if path.stem == "semtypes" else 1
    found = {}
    for line in read_text(path).split("\n"):
        name, _, values = line.rstrip().partition("\t")
        found[name] = [value for value in values.split("\t") if value][step - 1 :: step]
    return found


def _read_licences(path: Path) -> dict[str, tuple[str | None, str | None]] | None:
    """Return the article and the licence of each id; None if the file does not exist."""
    if not path.is_file():
        return None
    found = {}
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    end = 0  # of the line before
    try:
        for row in reader:
            end = reader.line_num
            name, *cells = row or [""]
            if len(cells) < 2 or name.strip().upper() == "ROCO_ID":
                continue
            # The second cell is the article and the figure's file, as in PMC4608653_cro-0008-0385-g01.jpg.
            article = cells[0].strip().partition("_")[0]
            found[name.strip()] = article or None, cells[-1].strip() or None
    except csv.Error as error:
        raise InputError(f"{path}, line {end + 1}: not CSV ({error}); copy the file again.") from None
    return found
