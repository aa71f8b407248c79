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
"""


@pytest.mark.parametrize(("given", "printed"), [(None, "True True None False"), ("3", "False False 3 False")])
def test_numpy_is_imported_with_one_thread_unless_the_user_has_set_a_number(given: str | None, printed: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if given:
        env["OPENBLAS_NUM_THREADS"] = given
    ran = subprocess.run([sys.executable, "-c", ALONE], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == printed


def test_work_in_the_background_gives_its_result_or_its_error() -> None:
    assert in_background(lambda: 3, "test").result() == 3
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0, "test").result()
