"""The setting is heard by the OpenMP library only when it is made before torch is there."""

from __future__ import annotations

import os
import subprocess
import sys


def run(code: str, **environment: str) -> str:
    plain = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_openmp_hears_it() -> None:
    code = "from roco_search.system.process import wait_passively; assert wait_passively(); import torch"
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in run(code, OMP_DISPLAY_ENV="true")


def test_what_the_user_has_set_is_kept_and_too_late_is_reported() -> None:
    code = "from roco_search.system.process import wait_passively as wait; wait(); import torch; print(wait())"
    told = run(code, OMP_DISPLAY_ENV="true", OMP_WAIT_POLICY="active")
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in told and told.splitlines()[0] == "False"
