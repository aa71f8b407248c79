"""Which arithmetic embeds images: the fastest that is faithful, measured once and kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.models import load_encoder
from roco_search.models.compiling.autotune import AFTER, FAITHFUL, ImagePlan, Run, choose, machine, processor_flags
from roco_search.models.compiling.towers import folder_of
from roco_search.models.onnx_encoder import OnnxEncoder


@pytest.mark.parametrize(
    ("rates", "cosines", "chosen"),
    [
        ({"fp32": 20, "bf16": 60, "int8": 90}, {"fp32": 1, "bf16": 0.999, "int8": 0.98}, "bf16"),
        ({"fp32": 20, "bf16": 60, "int8": 90}, {"fp32": 1, "bf16": 0.999, "int8": 0.996}, "int8"),
        ({"fp32": 20, "bf16": 23}, {"fp32": 1, "bf16": 0.9999}, "fp32"),
        ({"fp32": 20, "bf16": 200}, {"fp32": 1, "bf16": 0.9949}, "fp32"),
        ({"fp32": 20}, {"fp32": 1}, "fp32"),
    ],
)
def test_the_fastest_faithful_form_is_chosen(rates: dict[str, float], cosines: dict[str, float], chosen: str) -> None:
    assert choose(rates, cosines) == chosen


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnnxEncoder:
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    made = load_encoder("roco-mini", "cpu", "fast")
    assert isinstance(made, OnnxEncoder)
    return made


class Forms(ImagePlan):
    """Two forms that can be told apart: fp32, and one that is made up and counts its use."""

    used = 0

    @cached_property
    def forms(self) -> dict[str, Callable[[], Run]]:
        def run(pixels: np.ndarray) -> np.ndarray:
            self.used += len(pixels)
            return self._exact(pixels[:1]).repeat(len(pixels), axis=0)

        return {"fp32": lambda: self._exact, "quick": lambda: run}


def pixels(count: int) -> np.ndarray:
    return np.zeros((count, 3, 192, 192), np.float32)


def test_a_short_run_stays_in_fp32_and_a_long_one_measures_once(encoder: OnnxEncoder) -> None:
    plan = Forms(encoder.checkpoint, encoder.exact)
    plan(pixels(8))
    assert plan.used == 0 and plan.recorded() is None
    plan._seen = AFTER
    plan(pixels(8))
    assert plan.used > 0 and plan.recorded() == "quick"
    record = json.loads((folder_of(encoder.fingerprint) / "image-plan.json").read_text())
    assert set(record["rates"]) == set(record["cosines"]) == {"fp32", "quick"} and record["machine"] == machine()


def test_what_is_recorded_is_used_at_once_if_many_are_expected(encoder: OnnxEncoder) -> None:
    first = Forms(encoder.checkpoint, encoder.exact)
    first._seen = AFTER
    first(pixels(4))
    few, many = Forms(encoder.checkpoint, encoder.exact), Forms(encoder.checkpoint, encoder.exact)
    few.expect(10)
    many.expect(10_000)
    few(pixels(4))
    many(pixels(4))
    assert (few.used, many.used) == (0, 4)


def test_a_record_of_another_machine_or_a_form_that_is_not_here_does_not_count(encoder: OnnxEncoder) -> None:
    plan = Forms(encoder.checkpoint, encoder.exact)
    plan._seen = AFTER
    plan(pixels(4))
    place = folder_of(encoder.fingerprint) / "image-plan.json"
    record = json.loads(place.read_text())
    changes: list[dict[str, Any]] = [{"machine": {}}, {"chosen": "analogue"}]
    for change in changes:
        place.write_text(json.dumps(record | change))
        assert Forms(encoder.checkpoint, encoder.exact).recorded() is None
    place.write_text("{")
    assert Forms(encoder.checkpoint, encoder.exact).recorded() is None


def test_a_form_that_cannot_be_loaded_ahead_gives_way_to_fp32(
    encoder: OnnxEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    first = Forms(encoder.checkpoint, encoder.exact)
    first._seen = AFTER
    first(pixels(4))

    class Broken(Forms):
        @cached_property
        def forms(self) -> dict[str, Callable[[], Run]]:
            def quick() -> Run:
                raise ZeroDivisionError

            return {"fp32": lambda: self._exact, "quick": quick}

    plan = Broken(encoder.checkpoint, encoder.exact)
    plan.expect(10_000)
    given = np.random.default_rng(0).normal(size=(2, 3, 192, 192)).astype(np.float32)
    np.testing.assert_array_equal(plan(given), encoder.exact(given))
    assert "quick cannot be run here (ZeroDivisionError); fp32 is used." in caplog.text


@pytest.mark.skipif("avx512_bf16" not in processor_flags(), reason="this processor has no bf16")
def test_bf16_is_faithful_on_the_embedded_model(encoder: OnnxEncoder) -> None:
    random = np.random.default_rng(0)
    images = [np.clip(random.normal(100, 60, (224, 224, 1)).cumsum(0) % 255, 0, 255) for _ in range(6)]
    prepared = encoder._preprocessing([image.astype(np.uint8).repeat(3, axis=2) for image in images])
    plan = ImagePlan(encoder.checkpoint, encoder.exact)
    found = plan.forms["bf16"]()(prepared)
    assert (found * encoder.exact(prepared)).sum(axis=1).min() >= 0.999 > FAITHFUL


BFLOAT16 = """
import sys
from roco_search.models import load_encoder
from roco_search.models.roco_mini.bfloat16 import Bfloat16Tower
Bfloat16Tower(load_encoder("roco-mini", "cpu", "fast").checkpoint)
print("torch" in sys.modules, "transformers" in sys.modules)
"""


def test_the_embedded_models_bf16_tower_needs_no_transformers() -> None:
    ran = subprocess.run([sys.executable, "-c", BFLOAT16], capture_output=True, text=True, check=True)
    assert ran.stdout == "True False\n"
