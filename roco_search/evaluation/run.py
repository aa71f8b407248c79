"""An evaluation from the request to the result: everything that can be refused is, before a picture is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roco_search.datasets.pair import Pair, PairSet
from roco_search.evaluation.classes import Classes, Column, find_classes, find_column
from roco_search.evaluation.classification import Classification, measure_classification
from roco_search.evaluation.embed import Embedded, embed_with_each
from roco_search.evaluation.image_to_image import ImageToImage, LabelColumn, find_label, measure_image_to_image
from roco_search.evaluation.m3ae import draw_ids, find_pairs
from roco_search.evaluation.protocols import Protocol, check_batches
from roco_search.evaluation.retrieval import RetrievalResult, check_captions, measure_retrieval
from roco_search.models.encoder import Encoder
from roco_search.system.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Tasks:
    """What to measure, found possible: retrieval, the classification of columns, images by images, or several.

    Attributes
    ----------
    pairs
        Those that are needed for it.
    retrieval
        Whether captions are to be found by images and images by captions.
    protocols
        Those of retrieval besides the whole pool.
    by
        The column by whose values to measure too.
    columns
        The classes of each column that is classified.
    labels
        The columns of labels by which images are to be found by images.
    m3ae_ids
        The pairs of m3ae-2k.
    seed
        The seed of the bootstrap.
    """

    pairs: Sequence[Pair]
    retrieval: bool
    protocols: Sequence[Protocol]
    by: Column | None
    columns: Sequence[Classes]
    labels: Sequence[LabelColumn]
    m3ae_ids: Sequence[str]
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was measured.

    Attributes
    ----------
    data
        The split it was measured on, with what its layout left out.
    conditions
        By which its pairs were chosen, as they were written.
    encoders
        The model, and the one it was compared with.
    embedded
        What each made of the pairs, and which pictures could not be read.
    retrieval, classifications, images
        The results.
    tasks
        What was asked for.
    """

    data: PairSet
    conditions: Sequence[str]
    encoders: Sequence[Encoder]
    embedded: Sequence[Embedded]
    retrieval: RetrievalResult | None
    classifications: Sequence[Classification]
    images: Sequence[ImageToImage]
    tasks: Tasks


def plan_evaluation(
    data: PairSet,
    folder: str | Path,
    *,
    protocols: Sequence[Protocol] = (),
    by: str | None = None,
    classify: Sequence[str] = (),
    image_to_image: Sequence[str] = (),
    same_case: bool = False,
    labels: Sequence[str] = (),
    labels_file: str | Path | None = None,
    ignore_other: bool = False,
    seed: int = 0,
) -> Tasks:
    """Find out whether what is asked for can be measured on these pairs.

    Parameters
    ----------
    data
        The pairs.
    folder
        Where they are from; m3ae-2k reads the captions of the other splits there.
    protocols
        What to measure besides the whole pool.
    by
        A column by whose values to measure too.
    classify
        Columns to classify. Then captions are left alone, unless a protocol asks for them.
    image_to_image, same_case
        Columns of labels by which images are to find images, and whether those of one case may find each other.
        Captions are left alone as well.
    labels, labels_file, ignore_other
        The classes, as `find_classes` takes them.
    seed
        The seed of the bootstrap.

    Raises
    ------
    InputError
        If it cannot be measured.
    """
    retrieval = bool(protocols) or not (classify or image_to_image)
    if retrieval:
        check_captions(data.pairs)
    if "shuffled-32" in protocols:
        check_batches(len(data.pairs))
    columns = [
        find_classes(
            find_column(name, data.pairs),
            data.pairs,
            labels=labels,
            labels_file=labels_file,
            ignore_other=ignore_other,
        )
        for name in classify
    ]
    ids: Sequence[str] = ()
    if "m3ae-2k" in protocols:
        ids = draw_ids(Path(folder), data.split)
        find_pairs(ids, data.pairs)
    column = None
    if by is not None:
        column = find_column(by, data.pairs)
        for pair in data.pairs:
            column.of(pair)  # refuses lists
    found = [find_label(name, data.pairs, same_case=same_case) for name in image_to_image]
    pairs = list(data.pairs)
    if not retrieval and not found:
        wanted = [classes.truth(pairs) >= 0 for classes in columns]
        pairs = [pair for pair, *inside in zip(pairs, *wanted, strict=True) if any(inside)]
    return Tasks(pairs, retrieval, list(dict.fromkeys(protocols)), column, columns, found, ids, seed)


def evaluate(
    data: PairSet,
    encoders: Sequence[Encoder],
    tasks: Tasks,
    *,
    conditions: Sequence[str] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Measure what was planned.

    Parameters
    ----------
    data
        The pairs for which the tasks were planned.
    encoders
        The model, or two that are compared on the same pairs.
    tasks
        What to measure.
    conditions
        As in `Evaluation`.
    progress
        Follows the pairs that are read and embedded.

    Raises
    ------
    InputError
        If no picture can be read, too few can, or an embedding is not finite.
    """
    found = embed_with_each(encoders, tasks.pairs, captions=tasks.retrieval, progress=progress)
    retrieval = None
    if tasks.retrieval:
        retrieval = measure_retrieval(found, tasks.protocols, tasks.by, tasks.m3ae_ids, tasks.seed)
    classifications = [
        measure_classification(encoders, found, classes, tasks.by, tasks.seed) for classes in tasks.columns
    ]
    images = [measure_image_to_image(found, label, tasks.seed) for label in tasks.labels]
    return Evaluation(data, conditions, encoders, found, retrieval, classifications, images, tasks)
