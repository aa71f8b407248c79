"""A library of a model that takes CT in three windows: its images and its queries are rendered alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from roco_search.errors import UnsupportedModel
from roco_search.imaging import open_image
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.models.catalogue import registry
from roco_search.models.checkpoint import Checkpoint
from roco_search.search.terms import _image
from tests.imaging.drawing import shipped

STATED = [[2250, -100], [350, 40], [80, 40]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """roco-mini with the wish for three windows."""
    folder = tmp_path / "windowed"
    shutil.copytree(registry.EMBEDDED, folder)
    stated = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**stated, "ct_windows": STATED}))
    return folder


def test_a_library_of_such_a_model_finds_a_slice_by_another_copy_of_it(model: Path, tmp_path: Path) -> None:
    encoder = load_encoder(model, "cpu")
    assert encoder.fingerprint != load_encoder("roco-mini", "cpu").fingerprint, "it is part of the model"
    scans = tmp_path / "scans"
    scans.mkdir()
    slice_ = scans / "slice.dcm"
    shutil.copy(shipped("693_J2KI.dcm"), slice_)
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(shipped(name), scans / name)
    library = Library.create_or_open(tmp_path / "library")
    library.index([scans], encoder)
    copy = dcmread(slice_)
    copy.PatientName = "Another^Name"  # other bytes, so that nothing stored is found by its hash
    copy.save_as(tmp_path / "copy.dcm")
    query, _ = _image(library, encoder, tmp_path / "copy.dcm")
    found, scores = library.search(query[None], k=3)
    assert library.frames.get(found[0].tolist())[int(found[0][0])].path == str(slice_.resolve())
    assert scores[0][0] > 0.999
    as_always = encoder.encode_images([next(open_image(slice_)).pixels])[0]
    assert float(query @ as_always) < 0.999, "the windows make a difference"


@pytest.mark.parametrize("stated", [[[1, 2]], "x", [[0, 1]] * 3, [["a", 1]] * 3, [[float("inf"), 1]] * 3])
def test_windows_that_are_none_are_refused(model: Path, stated: object) -> None:
    file = model / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "ct_windows": stated}))
    with pytest.raises(UnsupportedModel, match="ct_windows that are not three"):
        _ = Checkpoint.open("windowed", model).ct_windows
