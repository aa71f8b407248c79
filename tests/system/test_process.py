"""Only the processors that were given to this process are used."""

import os
import subprocess
import sys

import pytest

from roco_search.system.process import in_background


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to processors")
def test_processors_of_others_are_not_counted() -> None:
    code = (
        "import os; from roco_search.system.process import cores; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


ALONE = """
import os, sys
from roco_search.system.process import import_numpy_alone
print(import_numpy_alone(), "numpy" in sys.modules, os.environ.get("OPENBLAS_NUM_THREADS"), import_numpy_alone())
import numpy.ma, numpy.random, scipy.sparse, scipy.stats  # which read docstrings
print(numpy.ones(2) @ numpy.ones(2))
"""


@pytest.mark.parametrize(("given", "printed"), [(None, "True True None False"), ("3", "False False 3 False")])
def test_numpy_is_imported_with_one_thread_unless_the_user_has_set_a_number(given: str | None, printed: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if given:
        env["OPENBLAS_NUM_THREADS"] = given
    ran = subprocess.run([sys.executable, "-c", ALONE], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [printed, "2.0"]


def test_work_in_the_background_gives_its_result_or_its_error() -> None:
    assert in_background(lambda: 3, "test").result() == 3
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0, "test").result()


LEAVING = """
import atexit, time
from roco_search.system.process import in_background, leave
atexit.register(lambda: print("registered"))
in_background(lambda: time.sleep(600), "test")
print("answer")
leave({code})
"""


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_writes_what_waits_and_waits_for_no_background_work(code: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LEAVING.format(code=code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "answer\nregistered\n", "")


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
QUIET = "from roco_search.system.process import leave\nprint('answer')\nleave(0)"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")  # noqa: PTH110
def test_an_answer_that_cannot_be_written_is_no_success() -> None:
    with open("/dev/full", "w", encoding="ascii") as full:  # noqa: PTH123
        ran = subprocess.run(
            [sys.executable, "-c", QUIET], stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED, check=False
        )
    assert ran.returncode == 1
    assert ran.stderr == "Error: The output could not be written (No space left on device).\n"


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "input()\n" + QUIET],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=BUFFERED,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    assert (process.wait(), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_an_engine_that_is_being_loaded_does_not_abort_the_process() -> None:
    program = (
        "import sys; sys.argv = ['roco', 'query']\n"
        "from roco_search.models import load_encoder\n"
        "from roco_search.system.process import leave\n"
        "encoder = load_encoder('roco-mini', device='cpu'); encoder.expect_images(10_000); leave(7)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (7, "")
