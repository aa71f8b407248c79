"""Real files look as an independent reader, highdicom, shows them: `scripts/independent.py` stored its pictures."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_files

from roco_search.imaging import open_image
from tests.imaging.drawing import SHARED

STORED = json.loads(Path(__file__).with_name("independent.json").read_text())
SIDE = 12


def here() -> dict[str, Path]:
    """Return where those of the files are that are at hand: pydicom's own always, the shared scans perhaps."""
    found = [*map(Path, get_testdata_files()), *(SHARED / "scans" / "dicom").rglob("*")]
    named = {"/".join(path.parts[-2:]): path for path in found if path.is_file()}
    return {name: named[name] for name in STORED if name in named}


@pytest.mark.parametrize(("name", "path"), here().items(), ids=list(here()))
def test_a_real_file_looks_as_an_independent_reader_shows_it(name: str, path: Path) -> None:
    stored = STORED[name]
    shape = (SIDE, SIDE) if stored["grey"] else (SIDE, SIDE, 3)
    expected = np.frombuffer(base64.b85decode(stored["thumbnail"]), np.uint8).reshape(shape).astype(float)
    picture = Image.fromarray(next(open_image(path)).pixels)
    found = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(float)
    if stored["grey"]:
        found = found[..., 0]
        if expected.std() > 0:
            assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= 0.999
    assert np.abs(found - expected).max() <= 3


def test_there_are_enough_of_them() -> None:
    assert len(here()) >= 40
