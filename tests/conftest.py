"""What every test needs: a cache that is not the person's own, shared by all tests so that a model is compiled once.

The embedded model is compiled before the first test: were it compiled by one worker while another one's test is
half-way through, two queries of that test would go through different forms of its text tower, and near ties would
change places.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A property says nothing of speed: a busy machine is no failure.
settings.register_profile("roco", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roco")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

COMPILE = """
from roco_search.models.catalogue import registry
from roco_search.models.compiling.compiler import prepare
assert prepare(registry.find("roco-mini"))
"""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of compiled models; workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "roco-cache"
    before = os.environ.get("ROCO_CACHE")
    os.environ["ROCO_CACHE"] = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.with_name("roco-cache.lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([sys.executable, "-c", COMPILE], check=True)  # torch stays out of this process
    yield folder
    if before is None:
        del os.environ["ROCO_CACHE"]
    else:
        os.environ["ROCO_CACHE"] = before
