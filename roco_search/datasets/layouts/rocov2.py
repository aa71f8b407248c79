"""ROCOv2 as its archive unpacks (Zenodo 8333645 and 10821435, Rückert et al. 2024).

::

    {train,valid,test}_captions.csv      ID,Caption
    {train,valid,test}_concepts.csv      ID,CUIs, separated by semicolons (…_concepts_manual.csv too)
    cui_mapping.csv                      CUI,Canonical name
    license_information.csv              ID,PMCID,Attribution,Link; the attribution begins with the licence
    {train,valid,test}_images/…/         ROCOv2_2023_train_000001.jpg

Copies differ in where the images are unpacked, so every folder that may hold them is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from roco_search.datasets.columns import LICENCES, find_column, fold_name
from roco_search.datasets.files import FileIndex, leaves_folder
from roco_search.datasets.pair import DataSet, PictureFile, Row, fold_text, read_captions
from roco_search.datasets.report import dataset_name
from roco_search.datasets.splits import known_split, sort_splits
from roco_search.datasets.tables import Table, read_table
from roco_search.errors import InputError

LAYOUT = "ROCOv2"
_IDS = ("id", "image_id", "image")
_TEXTS = ("caption", "captions", "text")
_ARTICLES = ("pmcid", "pmc_id")
_CONCEPTS = ("cuis", "cui", "concepts")


def find_rocov2(folder: Path) -> DataSet | None:
    """Find the tables of captions of ROCOv2 in a folder."""
    tables = {}
    for path in sorted(folder.glob("*.csv")):
        if (named := re.fullmatch(r"(.+)_captions?", path.stem)) and known_split(named[1]):
            tables[named[1]] = path
    if not tables:
        return None
    splits = {name: partial(read_rows, tables[name], name, folder) for name in sort_splits(tables)}
    return DataSet(dataset_name(folder), LAYOUT, str(folder), splits)


def read_rows(captions: Path, split: str, root: Path) -> list[Row]:
    """Read one split.

    The columns of a row are ``id`` and, where their tables exist, ``cuis`` and ``concepts`` (their names), each a
    list, ``licence`` and ``attribution`` (as stated) and ``pmc_id``, the article, which is the case.

    Raises
    ------
    InputError
        If a table is damaged, or lacks its columns.
    """
    table = read_table(captions)
    key, text = _require(table, _IDS), _require(table, _TEXTS)
    concepts = _read_concepts(root, split)
    licences = _read_licences(root)
    images = _Images(root, split)
    rows = []
    for number, cells in table.rows:
        name = fold_text(cells[key])
        if not name or leaves_folder(name):
            raise InputError(f"{captions}, line {number}: no id of an image; export the file again.")
        row_name, image = images.find(name)
        columns: dict[str, Any] = {"id": name}
        if concepts is not None:
            columns |= concepts.get(name, {"cuis": [], "concepts": []})
        stated: Mapping[str, str | None] = {}
        if licences is not None:
            stated = licences.get(name, {"licence": None, "attribution": None, "pmc_id": None})
            columns |= stated
        rows.append(
            Row(
                row_name,
                PictureFile(image) if image else None,
                read_captions(cells[text]),
                columns,
                stated.get("pmc_id"),
                stated.get("licence"),
            )
        )
    return rows


def _require(table: Table, names: tuple[str, ...]) -> str:
    if found := find_column(table.columns, names):
        return found
    raise InputError(f"{table.path} has no column {names[0]!r}; it has {', '.join(table.columns)}. Rename one of them.")


def _read_concepts(root: Path, split: str) -> dict[str, dict[str, list[str]]] | None:
    path = root / f"{split}_concepts.csv"
    if not path.is_file():
        return None
    table = read_table(path)
    key, codes = _require(table, _IDS), _require(table, _CONCEPTS)
    names = _read_names(root / "cui_mapping.csv")
    found = {}
    for _, cells in table.rows:
        cuis = [code for part in str(cells[codes]).split(";") if (code := part.strip())]
        found[fold_text(cells[key])] = {"cuis": cuis, "concepts": [names[code] for code in cuis if code in names]}
    return found


def _read_names(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = read_table(path)
    key, name = _require(table, ("cui", "cuis")), _require(table, ("canonical_name", "name"))
    return {fold_text(cells[key]): text for _, cells in table.rows if (text := fold_text(cells[name]))}


def _read_licences(root: Path) -> dict[str, dict[str, str | None]] | None:
    paths = sorted(path for path in root.glob("*.csv") if re.search(r"licen[cs]e", path.stem, re.IGNORECASE))
    found = {}
    for path in paths:
        table = read_table(path)
        key, licence = _require(table, _IDS), find_column(table.columns, LICENCES)
        article = find_column(table.columns, _ARTICLES)
        if licence is None:
            continue
        for _, cells in table.rows:
            stated = fold_text(cells[licence])
            found[fold_text(cells[key])] = {
                "licence": stated.partition("[")[0].strip() or None,
                "attribution": stated or None,
                "pmc_id": (fold_text(cells[article]) or None) if article else None,
            }
    return found if paths else None


class _Images:
    """The images of a split; the likely folders are searched first."""

    def __init__(self, root: Path, split: str) -> None:
        self._files = FileIndex(root)
        folders = [folder for folder in _folders(root) if self._files.count_images(folder)]
        self._folders = sorted(folders, key=lambda folder: (split not in fold_name(folder), folder))
        self._likely = self._folders[0] if self._folders else f"{split}_images"

    def find(self, name: str) -> tuple[str, Path | None]:
        """Return how a report refers to an image, and its path or None."""
        for folder in self._folders:
            if found := self._files.find_image(folder, name):
                return found.relative_to(self._files.root).as_posix(), found
        return f"{self._likely}/{name}.jpg" if self._likely else f"{name}.jpg", None


def _folders(root: Path) -> Iterator[str]:
    """Yield the folder itself and those one and two levels below it."""
    yield ""
    for pattern in ("*/", "*/*/"):
        yield from (path.relative_to(root).as_posix() for path in sorted(root.glob(pattern)) if path.is_dir())
