"""Pairs of an image and its captions, read from any layout that radiology data comes in.

`open_pairs` opens one split, `open_training` what a run learns from and is validated on, and `check_trainable` refuses
pairs that nothing can be learned from. The layouts, in the order in which they are tried: a directory of
``save_to_disk``, the ROCO repository, ROCOv2, ``imagefolder``, COCO's captions, Parquet files, and tables of paths and
captions. A data set of the hub is opened by its id.

**Captions** lose white space at their ends, and white space within them becomes one space. A data set may have several
captions of an image (a list in the column ``captions``, or the columns that the caller names): its own one is drawn
with a weight of 0.6, and the others share the rest. A list of words is one caption, joined by commas.

**Licences** are compared by their code: "CC BY" matches "cc-by" and "CC BY 4.0 (see README)", never "CC BY-NC".

**Cases** come from a column ``case``, ``group``, ``patient_id``, ``study_id`` or the like; in ROCO the case is the
article. No case is in both training and validation.

**Images** are recognised by their content. The rows of one image are positives of each other, whatever path they name,
and no image is in both training and validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from roco_search.datasets.assembly import assemble, check_choices, refuse_empty
from roco_search.datasets.columns import parse_conditions, select_rows
from roco_search.datasets.identity import identify_images
from roco_search.datasets.layouts import find_layout
from roco_search.datasets.pair import LeftOut, Pair, PairSet, Picture, PictureFile, TrainingData, check_trainable
from roco_search.datasets.splits import (
    TRAIN,
    VALIDATION,
    canonical_split,
    drop_shared,
    find_split,
    require_split,
    split_off_validation,
)
from roco_search.errors import InputError, TrainingError
from roco_search.system.process import collector_paused

__all__ = [
    "LeftOut",
    "Pair",
    "PairSet",
    "Picture",
    "PictureFile",
    "TrainingData",
    "check_trainable",
    "open_pairs",
    "open_training",
]


def open_pairs(
    data: str | Path,
    split: str,
    *,
    licences: Sequence[str] = (),
    where: Mapping[str, str] | Sequence[str] = (),
    caption_columns: Sequence[str] = (),
    need_captions: bool = True,
) -> PairSet:
    """Open one split of a data set. No image is decoded, so a damaged one shows when it is read.

    Parameters
    ----------
    data
        A folder, a file, or the id ``org/name`` of a data set of the hub, which is then downloaded.
    split
        Its name. ``validation``, ``val``, ``valid`` and ``dev`` name one split, as do ``train`` and ``training``.
    licences
        Keep only images under one of these, such as "CC BY"; an image without a stated licence is then left out.
    where
        Conditions such as ``source=medpix2``. Values of one column are alternatives; each column must match. A list
        matches if one of its entries does. Rows that do not match are not counted as left out.
    caption_columns
        Columns that are captions too.
    need_captions
        Leave out images without a caption. Otherwise a folder of folders of images is a data set too: the folder of
        each is its column ``folder``.

    Returns
    -------
    PairSet
        In the order of the data set. Rows without an image or a caption, and those under other licences, are counted
        in `PairSet.left_out`.

    Raises
    ------
    InputError
        If the data, the split, a column, a value or a licence does not exist, a line is damaged, or no pair is left.
    HubError
        If the hub is needed and cannot be reached.
    """
    conditions = parse_conditions(where)
    found = find_layout(data, None if need_captions else split)
    name = require_split(found, split)
    with collector_paused():
        rows = select_rows(found.splits[name](), conditions, f"the split {name} of {found.label}")
        check_choices(rows, found, licences=licences, caption_columns=caption_columns)
        (rows,) = identify_images(rows)
        read = assemble(rows, licences=licences, caption_columns=caption_columns, need_captions=need_captions)
    refuse_empty(read, found, name, InputError)
    return read.as_pair_set(found, canonical_split(name))


def open_training(
    data: str | Path,
    *,
    licences: Sequence[str] = (),
    where: Mapping[str, str] | Sequence[str] = (),
    caption_columns: Sequence[str] = (),
    seed: int = 0,
    validation_share: float = 0.1,
    cases_apart: bool = True,
) -> TrainingData:
    """Open what a run learns from and what it is validated on; no case and no image is in both.

    Where the data set has no validation split, whole cases are split off its training split, and `TrainingData.cut` is
    true. Training pairs of a case or an image of the validation split are left out and counted. A test split is not
    opened.

    Parameters
    ----------
    data, licences, where, caption_columns
        As for `open_pairs`; conditions apply to both splits.
    seed
        Determines which cases are split off, whatever the order of the rows.
    validation_share
        The share of the pairs, in (0, 1), to split off.
    cases_apart
        False takes the data set's own training split unchanged, to repeat what others did with it; what it shares with
        the validation split is then counted by `report.describe`.

    Raises
    ------
    TrainingError
        If nothing is left to learn from or to validate on.
    InputError, HubError
        As `open_pairs`.
    """
    conditions = parse_conditions(where)
    found = find_layout(data)
    own = {TRAIN: require_split(found, TRAIN), VALIDATION: find_split(found, VALIDATION)}
    with collector_paused():
        rows = {
            split: select_rows(found.splits[name](), conditions, f"the split {name} of {found.label}")
            for split, name in own.items()
            if name is not None
        }
        every = [row for part in rows.values() for row in part]
        check_choices(every, found, licences=licences, caption_columns=caption_columns)
        parts = {
            split: assemble(part, licences=licences, caption_columns=caption_columns)
            for split, part in zip(rows, identify_images(*rows.values()), strict=True)
        }
    for split, part in parts.items():
        refuse_empty(part, found, own[split] or split, TrainingError)
    cut = VALIDATION not in parts
    if cut:
        train, validation = split_off_validation(parts[TRAIN], validation_share, seed, found.label)
    else:
        validation = parts[VALIDATION]
        train = drop_shared(parts[TRAIN], validation) if cases_apart else parts[TRAIN]
    refuse_empty(train, found, own[TRAIN] or TRAIN, TrainingError)
    return TrainingData(train.as_pair_set(found, TRAIN), validation.as_pair_set(found, VALIDATION), cut)
