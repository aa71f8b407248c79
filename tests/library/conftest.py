from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.toy import Opened, ToyEncoder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        yield opened
