"""What every test needs: a cache that is not the person's own, shared by all tests so that a model is compiled once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of compiled models; workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "roco-cache"
    before = os.environ.get("ROCO_CACHE")
    os.environ["ROCO_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ROCO_CACHE"]
    else:
        os.environ["ROCO_CACHE"] = before
