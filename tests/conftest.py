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
from collections.abc import Callable, Iterator
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have a whole path through the program, so that no worker ends long after the other.

    ``--dist worksteal`` gives each worker one half of the list to begin with, so each half has its share of them.
    """
    files = list(dict.fromkeys(item.path for item in items if item.get_closest_marker("slow")))
    shares = [[item for item in items if item.path in files[worker::2]] for worker in range(2)]
    others = [item for item in items if item.path not in files]
    middle = max(0, len(items) // 2 - len(shares[0]))
    items[:] = [*shares[0], *others[:middle], *shares[1], *others[middle:]]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first worker to ask for it makes, and that all workers share."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f"{name}.made")
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of compiled models; workers share it."""
    before = os.environ.get("ROCO_CACHE")

    def compile_into(folder: Path) -> None:
        environment = {**os.environ, "ROCO_CACHE": str(folder)}
        subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True)  # torch stays out of this process

    folder = made_once(tmp_path_factory, "roco-cache", compile_into)
    os.environ["ROCO_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ROCO_CACHE"]
    else:
        os.environ["ROCO_CACHE"] = before
