"""GDCM decodes in processes of its own: the death of one costs one picture."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array

from roco_search.errors import UnreadableImage
from roco_search.imaging import isolation, open_image
from tests.imaging.drawing import shipped

NAME = "SC_rgb_jpeg_gdcm.dcm"


def encoded() -> tuple[str, bytes, dict[str, Any]]:
    """Return transfer syntax, codestream and options of a JPEG Lossless picture."""
    dataset = dcmread(shipped(NAME))
    options = {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "number_of_frames": 1,
        "samples_per_pixel": dataset.SamplesPerPixel,
        "photometric_interpretation": dataset.PhotometricInterpretation,
        "planar_configuration": dataset.PlanarConfiguration,
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored,
        "pixel_representation": dataset.PixelRepresentation,
        "pixel_keyword": "PixelData",
    }
    return str(dataset.file_meta.TransferSyntaxUID), get_frame(dataset.PixelData, 0, number_of_frames=1), options


def test_a_worker_returns_what_the_decoder_returns() -> None:
    uid, frame, options = encoded()
    found = isolation.decode(uid, frame, "gdcm", options)
    assert found is not None
    array, properties = found
    assert np.array_equal(array, pixel_array(shipped(NAME)))
    assert properties["photometric_interpretation"] == "RGB"


def test_a_worker_that_dies_takes_one_picture_along() -> None:
    uid, frame, options = encoded()
    isolation.close()
    isolation.decode(uid, frame, "gdcm", options)
    [worker] = isolation._idle.queue
    worker._process.kill()
    with pytest.raises(isolation.WorkerDied):
        isolation.decode(uid, frame, "gdcm", options)
    assert isolation.decode(uid, frame, "gdcm", options) is not None


def test_a_picture_that_is_refused_leaves_the_worker_alive() -> None:
    uid, frame, options = encoded()
    isolation.close()
    isolation.decode(uid, frame, "gdcm", options)
    [worker] = isolation._idle.queue
    with pytest.raises(isolation.WorkerFailed):
        isolation.decode(uid, frame[: len(frame) // 3], "gdcm", options | {"rows": 7})
    assert isolation._idle.queue == [worker]


def test_a_death_is_told_as_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise isolation.WorkerDied

    monkeypatch.setattr(isolation, "decode", dies)
    with pytest.raises(UnreadableImage, match="damaged"):
        next(open_image(shipped(NAME)))


def test_without_workers_the_process_decodes_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolation.close()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python-here"))
    assert isolation.decode(*encoded()[:2], "gdcm", encoded()[2]) is None
    assert np.array_equal(next(open_image(shipped(NAME))).pixels, pixel_array(shipped(NAME)))


def test_workers_end_with_their_process_even_if_it_is_killed() -> None:
    code = (
        "import os, signal, sys\n"
        "from roco_search.imaging import isolation, open_image\n"
        "next(open_image(sys.argv[1]))\n"
        "print(isolation._idle.queue[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, shipped(NAME)], capture_output=True, text=True, check=False)
    worker = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(100):
        if not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the worker is still there five seconds after its process was killed")
