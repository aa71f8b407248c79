"""A few of the inputs of ``scripts/fuzz libraries`` and ``words``; the script itself tries thousands."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "fuzzing"


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("damaged_libraries")


def test_damaged_caches_answer_as_ever_and_a_damaged_database_is_refused_or_answers(fuzz: Any, tmp_path: Path) -> None:
    made = fuzz.Made(tmp_path, 12)
    found = [made.use(1, number) for number in range(18)]
    assert found.count("answered") > 8


def test_words_of_any_syntax_are_a_condition_or_are_refused(fuzz: Any, tmp_path: Path) -> None:
    made = fuzz.Made(tmp_path, 8)
    found = [fuzz.ask_in_words(made, 0, number) for number in range(16)]
    assert {"answered", "refused"} == set(found), "a half character is among these words"
