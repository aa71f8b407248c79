"""A few of the probes and requests of ``scripts/fuzz probes|http``; the script sends thousands, and to ``mcp`` too."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "fuzzing"


@pytest.mark.parametrize(("kind", "needs", "refused"), [("probes", "numpy", "refused"), ("http", "gradio", "422")])
def test_each_is_refused_in_a_sentence_or_answered(
    kind: str, needs: str, refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(needs) is None:
        pytest.skip(f"the package {needs} is not installed")
    for name in ("XDG_RUNTIME_DIR", "ROCO_CONFIG", "PYTHONPATH"):
        monkeypatch.setenv(name, "")  # to be given back at the end
    monkeypatch.syspath_prepend(SCRIPTS)
    outcomes, failures = importlib.import_module("hostile_programs").run(kind, 11, 0, 40, tmp_path)
    assert not failures, "\n".join(failures)
    assert outcomes[refused] > 5
