"""A few of the damaged models of ``scripts/fuzz models``; the script itself uses hundreds."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "fuzzing"


def test_a_damaged_model_is_refused_in_a_sentence_or_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    models = importlib.import_module("damaged_models")
    outcomes, failures = models.run(11, 0, 60, tmp_path)
    assert not failures, "\n".join(failures)
    assert outcomes["used"] > 5 and outcomes["refused"] > 20
