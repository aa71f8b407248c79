"""Codecs that may never end, or end their process, run in processes of their own: that costs one picture."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from imagecodecs import jpegls_decode
from pydicom import dcmread
from pydicom.encaps import get_frame

from roco_search.errors import UnreadableImage
from roco_search.imaging import open_image
from roco_search.imaging.dicom.decoding import isolation
from roco_search.system.process import cores
from tests.imaging.drawing import shipped

NAME = "MR_small_jpeg_ls_lossless.dcm"


def encoded() -> bytes:
    """Return the codestream of a JPEG-LS picture."""
    return get_frame(dcmread(shipped(NAME)).PixelData, 0, number_of_frames=1)


def waiting() -> isolation.Worker:
    """Return the only worker, which has just decoded."""
    isolation.pool.close()
    isolation.decode("jpegls", encoded(), {})
    [worker] = isolation.pool.idle.queue
    return worker


def test_a_worker_returns_what_the_decoder_returns() -> None:
    found = isolation.decode("jpegls", encoded(), {})
    assert found is not None
    np.testing.assert_array_equal(found, jpegls_decode(encoded()))


def test_a_worker_that_was_ended_while_it_waited_costs_nothing() -> None:
    worker = waiting()
    worker._process.kill()
    worker._process.wait()
    assert isolation.decode("jpegls", encoded(), {}) is not None


def test_a_picture_that_takes_too_long_is_refused_and_the_next_one_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = waiting()
    monkeypatch.setattr(isolation, "PATIENCE", 1.0)
    os.kill(hangs._process.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(UnreadableImage, match="damaged"):
        next(open_image(shipped(NAME)))
    assert time.monotonic() - started < 5 and not hangs.lives
    monkeypatch.undo()
    assert next(open_image(shipped(NAME))).pixels.std() > 0


def test_a_picture_over_which_two_workers_die_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    deaths = []

    def die(worker: isolation.Worker, *_: object) -> None:
        worker._process.kill()
        deaths.append(worker)
        raise isolation.WorkerDied

    with monkeypatch.context() as patched:
        patched.setattr(isolation.Worker, "decode", die)
        with pytest.raises(UnreadableImage, match="damaged"):
            next(open_image(shipped(NAME)))
    assert len(deaths) == isolation.ATTEMPTS
    assert next(open_image(shipped(NAME))).pixels.std() > 0


def test_a_picture_that_is_refused_leaves_the_worker_alive() -> None:
    worker = waiting()
    with pytest.raises(isolation.WorkerFailed):
        isolation.decode("jpegls", encoded()[:50], {})
    assert isolation.pool.idle.queue == [worker] and worker.lives


def test_a_worker_cannot_take_more_memory_than_a_picture_may() -> None:
    limits = Path(f"/proc/{waiting()._process.pid}/limits")
    if not limits.exists():
        pytest.skip("the system does not say")
    [line] = [line for line in limits.read_text().splitlines() if line.startswith("Max address space")]
    assert str(isolation.MEMORY) in line


def test_a_module_in_the_current_folder_is_never_imported(tmp_path: Path) -> None:
    for name in ("numpy", "json", "imagecodecs", "roco_search"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    code = (
        "import sys\n"
        "from roco_search.imaging import open_image\nfrom roco_search.imaging.dicom.decoding import isolation\n"
        "next(open_image(sys.argv[1]))\n"
        "print(isolation.pool.idle.qsize())\n"
    )
    command = [sys.executable, "-P", "-c", code, str(shipped(NAME))]
    environment = os.environ | {"PYTHONPATH": str(isolation.ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1", "a worker decoded it"
    assert not (tmp_path / "imported").exists()


def test_many_threads_share_as_many_workers_as_there_are_cores() -> None:
    isolation.pool.close()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: isolation.decode("jpegls", encoded(), {}), range(24)))
    expected = jpegls_decode(encoded())
    assert all(one is not None and np.array_equal(one, expected) for one in found)
    assert isolation.pool.idle.qsize() <= cores()


def test_without_workers_the_process_decodes_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = next(open_image(shipped(NAME))).pixels
    monkeypatch.setattr(isolation, "pool", isolation.Pool())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python-here"))
    assert isolation.decode("jpegls", encoded(), {}) is None
    assert np.array_equal(next(open_image(shipped(NAME))).pixels, expected)


def test_workers_end_with_their_process_even_if_it_is_killed() -> None:
    code = (
        "import os, signal, sys\n"
        "from roco_search.imaging import open_image\nfrom roco_search.imaging.dicom.decoding import isolation\n"
        "next(open_image(sys.argv[1]))\n"
        "print(isolation.pool.idle.queue[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(shipped(NAME))], capture_output=True, text=True, check=False)
    worker = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(100):
        if not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the worker is still there five seconds after its process was killed")
