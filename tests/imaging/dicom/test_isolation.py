"""GDCM decodes in processes of its own: the death of one costs one picture."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.utils import pixel_array

from roco_search.errors import UnreadableImage
from roco_search.imaging import open_image
from roco_search.imaging.dicom import isolation
from roco_search.imaging.dicom.codestream import read_codestream
from roco_search.system.process import cores
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


def deadly() -> bytes:
    """Return the codestream with a JFIF segment of a version that does not exist: on it GDCM aborts its process."""
    spoil = b"JFIF\0\x9f\x01\0\0\x01\0\x01\0\0"
    frame = encoded()[1]
    return frame[:2] + b"\xff\xe0" + (len(spoil) + 2).to_bytes(2, "big") + spoil + frame[2:]


def test_a_picture_on_which_gdcm_aborts_ends_its_workers_and_nothing_else() -> None:
    uid, frame, options = encoded()
    with pytest.raises(isolation.WorkerDied):
        isolation.decode(uid, deadly(), "gdcm", options)
    assert isolation.decode(uid, frame, "gdcm", options) is not None


def test_an_abort_is_told_as_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read_codestream(encoded()[1])
    dataset = dcmread(shipped(NAME))
    dataset.PixelData = encapsulate([deadly()])
    dataset.save_as(tmp_path / "deadly.dcm")
    with pytest.raises(UnreadableImage, match="damaged"):
        next(open_image(tmp_path / "deadly.dcm"))
    # The check of the codestream refuses this one already; the next one that nobody has met yet gets as far as here.
    monkeypatch.setattr("roco_search.imaging.dicom.pixels.read_codestream", lambda frame: known)
    with pytest.raises(UnreadableImage, match="damaged"):
        next(open_image(tmp_path / "deadly.dcm"))
    assert np.array_equal(next(open_image(shipped(NAME))).pixels, pixel_array(shipped(NAME)))


def test_a_worker_that_was_ended_while_it_waited_costs_nothing() -> None:
    uid, frame, options = encoded()
    isolation.pool.close()
    isolation.decode(uid, frame, "gdcm", options)
    [worker] = isolation.pool.idle.queue
    worker._process.kill()
    worker._process.wait()
    assert isolation.decode(uid, frame, "gdcm", options) is not None


def test_a_worker_that_hangs_is_ended_and_the_next_one_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    uid, frame, options = encoded()
    isolation.pool.close()
    isolation.decode(uid, frame, "gdcm", options)
    [hangs] = isolation.pool.idle.queue
    monkeypatch.setattr(isolation, "PATIENCE", 3.0)
    os.kill(hangs._process.pid, signal.SIGSTOP)
    found = isolation.decode(uid, frame, "gdcm", options)
    assert found is not None and not hangs.lives


def test_a_picture_that_is_refused_leaves_the_worker_alive() -> None:
    uid, frame, options = encoded()
    isolation.pool.close()
    isolation.decode(uid, frame, "gdcm", options)
    [worker] = isolation.pool.idle.queue
    with pytest.raises(isolation.WorkerFailed):
        isolation.decode(uid, frame[: len(frame) // 3], "gdcm", options | {"rows": 7})
    assert isolation.pool.idle.queue == [worker] and worker.lives


def test_a_module_in_the_current_folder_is_never_imported(tmp_path: Path) -> None:
    for name in ("numpy", "json", "pydicom", "roco_search"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    code = (
        "import sys\n"
        "from roco_search.imaging import open_image\nfrom roco_search.imaging.dicom import isolation\n"
        "next(open_image(sys.argv[1]))\n"
        "print(isolation.pool.idle.qsize())\n"
    )
    command = [sys.executable, "-P", "-c", code, shipped(NAME)]
    environment = os.environ | {"PYTHONPATH": str(isolation.ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1", "a worker decoded it"
    assert not (tmp_path / "imported").exists()


def test_many_threads_share_as_many_workers_as_there_are_cores() -> None:
    uid, frame, options = encoded()
    isolation.pool.close()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: isolation.decode(uid, frame, "gdcm", options), range(24)))
    assert all(one is not None and np.array_equal(one[0], pixel_array(shipped(NAME))) for one in found)
    assert isolation.pool.idle.qsize() <= cores()


def test_without_workers_the_process_decodes_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(isolation, "pool", isolation.Pool())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python-here"))
    assert isolation.decode(*encoded()[:2], "gdcm", encoded()[2]) is None
    assert np.array_equal(next(open_image(shipped(NAME))).pixels, pixel_array(shipped(NAME)))


def test_workers_end_with_their_process_even_if_it_is_killed() -> None:
    code = (
        "import os, signal, sys\n"
        "from roco_search.imaging import open_image\nfrom roco_search.imaging.dicom import isolation\n"
        "next(open_image(sys.argv[1]))\n"
        "print(isolation.pool.idle.queue[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, shipped(NAME)], capture_output=True, text=True, check=False)
    worker = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(100):
        if not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the worker is still there five seconds after its process was killed")
