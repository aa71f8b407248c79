"""Importing Gradio costs no more than it must."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

COMPONENT = """
from gradio.components import HTML

class Mine(HTML):
    EVENTS = []
"""


def test_gradio_parses_no_component_and_writes_no_stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_without_stub.py").write_text(COMPONENT)
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("mine_without_stub").Mine.__name__ == "Mine"
    assert not list(tmp_path.glob("*.pyi"))
