"""A few of the mutated tables of ``scripts/fuzz tables``; the script itself reads thousands."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "fuzzing"


def test_what_comes_out_of_a_mutated_table_is_what_python_reads_or_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    tables = importlib.import_module("mutated_tables")
    outcomes, failures = tables.run(7, 0, 120, tmp_path)
    assert not failures, "\n".join(failures)
    assert outcomes["read"] > 20 and outcomes["refused"] > 20
