"""Zero-shot classification: which of the given labels fit an image, by the model's comparison with texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np

from roco_search.classify.engine import Classifier, LabelScore, Prediction, Share, named
from roco_search.classify.labels import Kind, Label, Mode, meaning, read_labels, split_labels
from roco_search.classify.reading import Picture, Unreadable, find_images, read_pictures
from roco_search.errors import ImageError, InputError
from roco_search.imaging import Frame, FrameChoice
from roco_search.imaging.ahead import MAX_BYTES, in_batches
from roco_search.models.encoder import NO_EMBEDDING, Encoder, ct_windows

__all__ = [
    "Classifier",
    "Kind",
    "Label",
    "LabelScore",
    "Mode",
    "Picture",
    "Prediction",
    "Share",
    "Unreadable",
    "classify",
    "classify_files",
    "meaning",
    "read_labels",
    "split_labels",
]

BATCH_SIZE = 32


def classify(
    encoder: Encoder,
    images: Sequence[np.ndarray | Frame],
    labels: Iterable[str | Label],
    *,
    mode: Mode = "exclusive",
    templates: Sequence[str] = (),
    shares: bool = False,
) -> list[Prediction]:
    """Classify images that are already in memory.

    Parameters
    ----------
    encoder
        The model.
    images
        Frames of `open_image`, whose tags choose the prompts, or uint8 ``(height, width, 3)`` arrays.
    labels
        Names, or `Label` with prompts.
    mode
        "exclusive": one softmax over all labels. "multi-label": each label against its opposite.
    templates
        Instead of the prompt sets that come with roco, such as ``["a chest x-ray of {}"]``.
    shares
        Whether to report what each prompt contributed.

    Returns
    -------
    list of Prediction
        One for each image, in order. The probabilities are the model's, not clinical ones.

    Raises
    ------
    InputError
        If labels or templates cannot be used, or an image has no usable embedding.
    """
    classifier = Classifier(encoder, named(labels), mode, templates)
    pixels = [image.pixels if isinstance(image, Frame) else image for image in images]
    if not pixels:
        return []
    vectors = encoder.encode_images(pixels)
    if not np.isfinite(vectors).all():
        raise InputError(f"An image cannot be classified: {NO_EMBEDDING}.")
    tags = [image.tags if isinstance(image, Frame) else None for image in images]
    return classifier.predict(vectors, tags, shares=shares)


def classify_files(
    classifier: Classifier,
    paths: Iterable[str | os.PathLike[str]],
    *,
    frames: FrameChoice = "middle",
    shares: bool = False,
    seen: Callable[[Picture, Prediction], None] | None = None,
) -> Iterator[Prediction | Unreadable]:
    """Classify files and folders, in order; what cannot be read comes out as `Unreadable` in its place.

    Parameters
    ----------
    classifier
        The labels, made ready for a model.
    paths
        Files and folders. Files in a folder that are no images are skipped.
    frames
        Which frames of a file with several: "middle", "all", or a number of evenly spaced ones.
    shares
        Whether to report what each prompt contributed.
    seen
        Called with each picture while its pixels are at hand.

    Raises
    ------
    InputError
        If a path does not exist.
    """
    with closing(read_pictures(find_images(paths), frames, ct_windows(classifier.encoder))) as entries:
        for batch in in_batches(entries, BATCH_SIZE, MAX_BYTES):
            pictures = [entry for _, entry in batch if isinstance(entry, Picture)]
            vectors = classifier.encoder.encode_images([picture.pixels for picture in pictures]) if pictures else ()
            embedded = dict(zip(map(id, pictures), vectors, strict=True))
            for file, entry in batch:
                if isinstance(entry, ImageError):
                    yield Unreadable(file.path, str(entry))
                    continue
                vector = embedded[id(entry)]
                if not np.isfinite(vector).all():
                    yield Unreadable(entry.path, NO_EMBEDDING)
                    continue
                place = (entry.path, entry.frame)
                (prediction,) = classifier.predict(vector[None], [entry.tags], places=[place], shares=shares)
                if seen is not None:
                    seen(entry, prediction)
                yield prediction
            batch.clear()  # These pixels would be held until the next batch is whole.
            pictures.clear()
