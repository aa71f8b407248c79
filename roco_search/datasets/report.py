"""How cards, titles and reports refer to a data set and describe it, without its absolute path."""

from __future__ import annotations

from pathlib import Path

from roco_search.datasets.columns import LICENCES, find_column
from roco_search.datasets.licences import count_licences
from roco_search.datasets.pair import Pair, PairSet, TrainingData, fold_text
from roco_search.datasets.splits import case_count, known_split

_GENERIC = frozenset({"data", "all_data", "radiology"})  # folders within a data set that do not name it


def dataset_name(path: Path) -> str:
    """Return the name of a data set: that of its folder, or of its file without the extension.

    If the folder is a split, or has a generic name, the folder around it gives the name; but never a person's home,
    whose name is the person's: a card is published.
    """
    path = path.resolve()
    here = path.with_suffix("") if path.is_file() else path
    while (here.name.casefold() in _GENERIC or known_split(here.name)) and here.parent.name:
        here = here.parent
    return "data" if _is_home(here) else here.name or "data"


def _is_home(folder: Path) -> bool:
    known = Path("~").expanduser().resolve()
    return folder == known or folder.parent in {Path("/home"), Path("/Users")}


def relative_name(path: Path, root: Path) -> str:
    """Return a path as a report writes it: with slashes, and relative to the data set if it is in its folder."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def describe(data: PairSet | TrainingData) -> list[str]:
    """Return sentences about data, one a line.

    They state the layout, the number of pairs, images, cases and distinct captions, the licences, what was left out
    and why with up to three examples, and whether the validation split was split off the training split.
    """
    if isinstance(data, PairSet):
        return [_size(data), *_cases(data), f"Licences: {_licences(data)}.", *_left_out(data)]
    train, validation = data.train, data.validation
    lines = [_size(train), *_cases(train)]
    if data.cut:
        lines.append(
            f"The data has no validation split: whole cases were split off train by the seed, {_pairs(validation)}."
        )
    else:
        lines.append(f"Validation: {_pairs(validation)}.")
    if shared := count_shared(train, validation):
        lines.append(
            f"{_count(shared, 'training pair')} {'is' if shared == 1 else 'are'} of cases or images that are in the "
            "validation split too, so its figures will be too good."
        )
    lines.append(f"Licences in train: {_licences(train)}.")
    return [*lines, *_left_out(train), *_left_out(validation)]


def count_shared(train: PairSet, validation: PairSet) -> int:
    """Return the number of training pairs whose case or image is in the validation split too."""
    cases = {pair.case for pair in validation.pairs} - {None}
    images = {pair.image for pair in validation.pairs}
    return sum(pair.case in cases or pair.image in images for pair in train.pairs)


def licence_of(pair: Pair) -> str | None:
    """Return the licence that the data set states for an image."""
    column = find_column(pair.columns, LICENCES)
    return (fold_text(pair.columns[column]) or None) if column else None


def _size(data: PairSet) -> str:
    return f"{data.name} ({data.layout}), {data.split}: {_pairs(data)}."


def _pairs(data: PairSet) -> str:
    pairs = data.pairs
    captions = len({pair.caption for pair in pairs})
    images = len({pair.image for pair in pairs})
    of_images = f"{_count(images, 'image')}, " if images < len(pairs) else ""
    cases = f"{_count(case_count(pairs), 'case')}, " if any(pair.case is not None for pair in pairs) else ""
    return f"{_count(len(pairs), 'pair')} ({of_images}{cases}{_count(captions, 'distinct caption')})"


def _cases(data: PairSet) -> list[str]:
    if any(pair.case is not None for pair in data.pairs):
        return []
    return ["The data does not state which images are of one case: each counts as a case of its own."]


def _licences(data: PairSet) -> str:
    return count_licences(licence_of(pair) for pair in data.pairs)


def _left_out(data: PairSet) -> list[str]:
    lines = []
    for reason, count in data.left_out.counts.most_common():
        examples = data.left_out.examples.get(reason, [])
        more = ", …" if count > len(examples) else ""
        lines.append(f"Left out of {data.split}: {_count(count, 'row')}, {reason} ({', '.join(examples)}{more}).")
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
