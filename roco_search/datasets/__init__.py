"""Pairs of an image and what may be said of it, read from any layout that radiology data comes in.

`open_pairs` opens one split, `open_training` what a run learns from and is judged by, and `check_trainable` refuses
pairs that cannot teach. The layouts, in the order in which they are looked for: a directory of ``save_to_disk``, the
ROCO repository, ROCOv2, ``imagefolder``, Parquet files, tables of paths and captions; and by its id, a data set of
the hub.

**Captions** lose the spaces at their ends, and white space in them becomes one space. A data set may have several of
an image (a list in the column ``captions``, or the columns that the caller names): the own one is drawn with a weight
of 0.6, the others share the rest; a list of words is one caption, joined by commas.

**Licences** are compared by their code: "CC BY" takes "cc-by" and "CC BY 4.0 (see README)", never "CC BY-NC".

**Cases** are a column ``case``, ``group``, ``patient_id``, ``study_id`` or the like, in ROCO the article. No case is
in two of the splits of a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from roco_search.datasets.assembly import assemble, check_choices, refuse_empty
from roco_search.datasets.columns import choose, parse_conditions
from roco_search.datasets.layouts import find_layout
from roco_search.datasets.pair import LeftOut, Pair, PairSet, Picture, PictureFile, TrainingData, check_trainable
from roco_search.datasets.splits import TRAIN, VALIDATION, canonical, cut_by_case, find_split, keep_apart, require_split
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
) -> PairSet:
    """Open one split of a data set. No image is opened: one that is damaged shows when it is read.

    Parameters
    ----------
    data
        A folder, a file, or the id ``org/name`` of a data set of the hub, which is then fetched.
    split
        Its name. ``validation``, ``val``, ``valid`` and ``dev`` are one, as are ``train`` and ``training``.
    licences
        Keep images under one of these, such as "CC BY"; an image of which no licence is stated is left out then.
    where
        Conditions such as ``source=medpix2``. Values of one column are alternatives, and each column must hold. A
        column of lists holds if one of its entries does. Rows that do not meet them are not counted as left out.
    caption_columns
        Columns whose texts are captions too.

    Returns
    -------
    PairSet
        In the order of the data set. Rows without an image or a caption, and those under other licences, are counted
        in `PairSet.left_out`.

    Raises
    ------
    InputError
        If the data, the split, a column, a value or a licence is not there, a line is damaged, or no pair is left.
    HubError
        If the hub is needed and cannot be reached.
    """
    conditions = parse_conditions(where)
    found = find_layout(data)
    name = require_split(found, split)
    with collector_paused():
        rows = choose(found.splits[name](), conditions, f"the split {name} of {found.place}")
        check_choices(rows, found, licences=licences, caption_columns=caption_columns)
        read = assemble(rows, licences=licences, caption_columns=caption_columns)
    refuse_empty(read, found, name, InputError)
    return read.as_pair_set(found, canonical(name))


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
    """Open what a run learns from and what it is judged by; no case is in both.

    Where the data set has no validation split, one is cut off train, whole cases only; `TrainingData.cut` says so.
    Where it has one, training pairs of its cases are left out of train and counted. A test split is left alone.

    Parameters
    ----------
    data, licences, where, caption_columns
        As for `open_pairs`; conditions choose the rows of both splits.
    seed
        Decides which cases are cut off, whatever the order of the rows.
    validation_share
        Of the pairs, in (0, 1), to cut off.
    cases_apart
        False takes the data set's own training split as it is, to repeat what others did with it.

    Raises
    ------
    TrainingError
        If nothing is left to learn from or to be judged by.
    InputError, HubError
        As `open_pairs`.
    """
    conditions = parse_conditions(where)
    found = find_layout(data)
    own = {TRAIN: require_split(found, TRAIN), VALIDATION: find_split(found, VALIDATION)}
    with collector_paused():
        rows = {
            split: choose(found.splits[name](), conditions, f"the split {name} of {found.place}")
            for split, name in own.items()
            if name is not None
        }
        every = [row for part in rows.values() for row in part]
        check_choices(every, found, licences=licences, caption_columns=caption_columns)
        parts = {
            split: assemble(part, licences=licences, caption_columns=caption_columns) for split, part in rows.items()
        }
    for split, part in parts.items():
        refuse_empty(part, found, own[split] or split, TrainingError)
    cut = VALIDATION not in parts
    if cut:
        train, validation = cut_by_case(parts[TRAIN], validation_share, seed, found.place)
    else:
        validation = parts[VALIDATION]
        train = keep_apart(parts[TRAIN], validation) if cases_apart else parts[TRAIN]
        refuse_empty(train, found, own[TRAIN] or TRAIN, TrainingError)
    return TrainingData(train.as_pair_set(found, TRAIN), validation.as_pair_set(found, VALIDATION), cut)
