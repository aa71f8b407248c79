"""Nothing of what a decoder says passes the door: every layer below it raises an exception that quotes a patient.

The exceptions are real ones in kind: what Pillow, pydicom, zlib and the operating system raise on damaged files.
"""

from __future__ import annotations

import errno
import logging
import struct
import subprocess
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from roco_search.classify import Classifier, Label, Unreadable, classify_files
from roco_search.curation.pictures import read_pictures
from roco_search.datasets.pair import Pair, PictureFile
from roco_search.errors import UnreadableImage
from roco_search.evaluation.embed import embed
from roco_search.imaging import open_image, open_image_bytes, read_levels
from roco_search.library.truth.frames import Columns, ListedFile
from roco_search.training.batches import Batches, Sampler
from tests.concepts import ConceptEncoder, draw
from tests.imaging.drawing import draw_dicom, ramp, shipped
from tests.library.toy import Opened, ToyEncoder

SECRET = "Zebediah^Quuxington"
DICOM = [
    "dicom.pipeline.read_header",
    "dicom.pipeline.refuse_unless_picture",
    "dicom.pipeline.read_tags",
    "dicom.pipeline.FrameDecoder",
    "dicom.pipeline.choose_frames",
    "dicom.pipeline.render_frame",
    "dicom.pixels.read_layout",
    "dicom.pixels.codecs.codec_of",
    "dicom.pixels.FrameDecoder._native",
    "dicom.display.read_modality",
    "dicom.display.read_voi",
    "dicom.display.pixel_aspect",
    "render.apply_window",
    "render.to_picture",
]
RASTER = [
    "raster.Image.open",
    "raster.check_size",
    "raster._tags",
    "raster._render_deep_png",
    "raster.upright",
    "tiff.stretch",
    "tiff.by_stretches",
    "render.to_picture",
]
LEVELS = ["dicom.pipeline.read_header", "dicom.levels.read_modality", "dicom.levels._window"]
FAILURES: list[Callable[[], Exception]] = [
    lambda: ValueError(SECRET),
    lambda: KeyError(SECRET),
    lambda: OSError(f"image file of {SECRET} is truncated"),
    lambda: OSError(errno.EIO, SECRET, SECRET),
    lambda: PermissionError(errno.EACCES, SECRET, SECRET),
    lambda: EOFError(SECRET),
    lambda: struct.error(SECRET),
    lambda: zlib.error(SECRET),
    lambda: RecursionError(SECRET),
    lambda: UnicodeDecodeError("ascii", SECRET.encode(), 0, 1, SECRET),
    lambda: UnidentifiedImageError(SECRET),
    lambda: Image.DecompressionBombError(SECRET),
    lambda: AssertionError(SECRET),
]


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dicom(tmp_path_factory.mktemp("dicom") / "a.dcm", ramp(), WindowCenter=40, WindowWidth=400)


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raster") / "a.png"
    Image.fromarray(ramp(0, 4095, "uint16")).save(path)
    return path


class Failing:
    """Takes the place of something below the door; raises an exception that has a quoting one for its cause."""

    def __init__(self, failure: Callable[[], BaseException]) -> None:
        self.failure, self.calls = failure, 0

    def __call__(self, *_: object, **__: object) -> Any:
        self.calls += 1
        try:
            raise LookupError(f"inner {SECRET}")
        except LookupError as inner:
            raise self.failure() from inner


def spoil(monkeypatch: pytest.MonkeyPatch, layer: str, failure: Callable[[], BaseException]) -> Failing:
    failing = Failing(failure)
    monkeypatch.setattr(f"roco_search.imaging.{layer}", failing)
    return failing


def everything_of(error: BaseException) -> str:
    """All that a log, a crash report or a debugger would print of an exception, with the frames' own variables."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join([str(error), repr(error), repr(error.__cause__), repr(error.__context__), *told.format()])


def assert_silent(refused: pytest.ExceptionInfo[BaseException], failing: Failing) -> None:
    assert failing.calls == 1
    assert SECRET not in everything_of(refused.value)
    assert refused.value.__cause__ is None and refused.value.__context__ is None


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(
    ("kind", "layer"), [*(("dicom", layer) for layer in DICOM), *(("raster", layer) for layer in RASTER)]
)
def test_whatever_a_layer_raises_the_caller_sees_our_own_words(
    kind: str,
    layer: str,
    failure: Callable[[], Exception],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path: Path = request.getfixturevalue(kind)
    failing = spoil(monkeypatch, layer, failure)
    with (
        caplog.at_level(logging.DEBUG),
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(UnreadableImage) as refused,
    ):
        list(open_image(path))
    assert_silent(refused, failing)
    assert "; " in str(refused.value), "a message ends in the remedy"
    assert SECRET not in caplog.text + str(capfd.readouterr()) + str([str(entry.message) for entry in warned])
    with pytest.raises(UnreadableImage) as again:
        list(open_image_bytes(path.read_bytes()))
    assert str(again.value) == str(refused.value) and again.value.__context__ is None


@pytest.mark.parametrize("layer", LEVELS)
def test_grey_levels_are_read_behind_the_same_door(layer: str, dicom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = spoil(monkeypatch, layer, lambda: ValueError(SECRET))
    with pytest.raises(UnreadableImage) as refused:
        read_levels(dicom)
    assert_silent(refused, failing)


@pytest.mark.parametrize("layer", ["dicom.pipeline.read_header", "dicom.pixels.FrameDecoder._native"])
def test_memory_that_runs_out_says_nothing_either(layer: str, dicom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = spoil(monkeypatch, layer, lambda: MemoryError(SECRET))
    with pytest.raises(MemoryError) as refused:
        list(open_image(dicom))
    assert_silent(refused, failing)


def test_damage_in_a_later_frame_shows_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw_dicom(tmp_path / "a.dcm", np.stack([ramp(), ramp()]))
    frames = open_image(path, frames="all")
    assert next(frames).index == 0
    failing = spoil(monkeypatch, "dicom.pixels.FrameDecoder._native", lambda: ValueError(SECRET))
    with pytest.raises(UnreadableImage, match="its pixel data is damaged") as refused:
        next(frames)
    assert_silent(refused, failing)


def test_refusals_of_our_own_keep_their_words_and_lose_what_led_to_them(
    dicom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = spoil(monkeypatch, "dicom.pipeline.read_header", lambda: UnreadableImage("cut short; copy it again"))
    with pytest.raises(UnreadableImage, match=r"^cut short; copy it again$") as refused:
        list(open_image(dicom))
    assert_silent(refused, failing)


# What stands on the door: each collects failures in its own way, and shows them to a person.


def reasons_of_index(paths: Sequence[Path], folder: Path) -> list[str]:
    with Opened(folder / "library", ToyEncoder()) as opened:
        return [entry.reason for entry in opened.index(*paths).skipped]


def reasons_of_classify(paths: Sequence[Path], folder: Path) -> list[str]:
    classifier = Classifier(ConceptEncoder(), [Label("CT"), Label("MRI")])
    return [entry.reason for entry in classify_files(classifier, paths) if isinstance(entry, Unreadable)]


def reasons_of_evaluation(paths: Sequence[Path], folder: Path) -> list[str]:
    pairs = [Pair(PictureFile(path), path.name) for path in paths]
    return [entry.reason for entry in embed(ConceptEncoder(), pairs).unreadable]


def reasons_of_training(paths: Sequence[Path], folder: Path) -> list[str]:
    pairs = [Pair(PictureFile(path), path.name) for path in paths]
    sampler = Sampler(len(pairs), len(pairs), 0)
    batches = Batches(pairs, sampler, 0, lambda count: slice(0, count), 32, lambda pixels: pixels)
    return [reason for batch in batches.run(0, 1) for _, reason in batch.unreadable]


def reasons_of_curation(paths: Sequence[Path], folder: Path) -> list[str]:
    stats = [path.stat() for path in paths]
    files = [
        ListedFile(str(path), stat.st_size, stat.st_mtime_ns, None) for path, stat in zip(paths, stats, strict=True)
    ]
    rows = np.arange(len(paths))
    zero = np.zeros_like(rows)
    columns = Columns(rows + 1, rows, rows, zero, zero + 1, zero - 1, zero - 1, files)
    return [entry.reason for entry in read_pictures(columns, rows).unreadable]


@pytest.mark.parametrize(
    "reasons_of",
    [reasons_of_index, reasons_of_classify, reasons_of_evaluation, reasons_of_training, reasons_of_curation],
)
def test_those_who_read_many_files_pass_on_our_words_alone(
    reasons_of: Callable[[Sequence[Path], Path], list[str]],
    tmp_path: Path,
    dicom: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    good = draw(tmp_path / "z.png", "ct")
    failing = spoil(monkeypatch, "dicom.pipeline.read_header", lambda: ValueError(SECRET))
    with caplog.at_level(logging.DEBUG):
        reasons = reasons_of([dicom, good], tmp_path)
    assert failing.calls == 1
    assert reasons == ["its header is damaged; copy or export it again"]
    assert SECRET not in caplog.text + str(capfd.readouterr())


def test_memory_that_runs_out_is_a_reason_for_those_who_read_many_files(
    tmp_path: Path, dicom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = draw(tmp_path / "z.png", "ct")
    spoil(monkeypatch, "dicom.pipeline.read_header", lambda: MemoryError(SECRET))
    for reasons_of in (reasons_of_index, reasons_of_classify, reasons_of_evaluation, reasons_of_training):
        assert reasons_of([dicom, good], tmp_path) == [
            "there is not enough memory to decode it; close other programs or make it smaller"
        ]
    # What was not read for want of memory is read again, without being asked, as soon as there is some.
    monkeypatch.undo()
    assert reasons_of_index([dicom, good], tmp_path) == []


SLOWLY = """
import importlib.abc, sys, threading, time
from roco_search.imaging import open_image

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pydicom", "nibabel", "nrrd"}:
            time.sleep(0.01)

def read(path, wait):
    time.sleep(wait)
    try:
        next(open_image(path))
    except Exception as error:
        failed.append(f"{path}: {error}")

failed = []
sys.meta_path.insert(0, Slow())
threads = [threading.Thread(target=read, args=(path, 0.03 * n)) for n, path in enumerate(10 * sys.argv[1:])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("\\n".join(failed) or 0)
"""


def test_readers_do_not_meet_in_a_library_that_is_half_imported(tmp_path: Path) -> None:
    """The first files of a run are read by several threads, each of which imports what it needs."""
    voxels = np.random.default_rng(0).integers(0, 1000, (8, 8, 8)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    nrrd.write(str(tmp_path / "a.nrrd"), voxels)
    files = [shipped("CT_small.dcm"), tmp_path / "a.nii", tmp_path / "a.nrrd"]
    done = subprocess.run([sys.executable, "-c", SLOWLY, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
