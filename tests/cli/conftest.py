"""The command line as a person meets it: arguments in; exit code, stdout and stderr out."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from roco_search.cli import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Roco = Callable[..., Result]


@pytest.fixture
def roco(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Roco:
    """Run ``roco …`` in this process, with a library of the test's own."""
    monkeypatch.setenv("ROCO_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setenv("ROCO_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("ROCO_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("ROCO_MODEL", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["roco", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three pictures, a DICOM object without one, a broken file, and a file that is nobody's business."""
    folder = tmp_path / "scans"
    (folder / "dicom").mkdir(parents=True)
    for name in ("CT_small.dcm", "MR_small.dcm", "reportsi.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), folder / "dicom" / name)
    Image.linear_gradient("L").save(folder / "ramp.png")
    (folder / "broken.png").write_bytes((folder / "ramp.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("Doe^Jane was here")
    return folder
