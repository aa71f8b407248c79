"""Settings are checked when they are made; presets fill in, and what is given goes before."""

from __future__ import annotations

import json

import pytest

from roco_search.errors import TrainingError
from roco_search.training.settings import Settings, with_preset


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"batch_size": 1, "micro_batch": 1}, "nothing to compare"),
        ({"batch_size": 100, "micro_batch": 32}, "no multiple of `micro_batch` 32"),
        ({"micro_batch": 0}, "`micro_batch` is 0"),
        ({"learning_rate": 0.0}, "`learning_rate` is 0.0; it must be above 0"),
        ({"learning_rate": float("nan")}, "must be above 0"),
        ({"max_steps": -1}, "cannot be negative"),
        ({"averaging": 1.0}, "`averaging` at least 0 and below 1"),
        ({"accumulation": "sloppy"}, "'sloppy' is not one of exact, naive"),
        ({"precision": "int8"}, "'int8' is not one of"),
        ({"objective": "triplet"}, "'triplet' is not one of"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, object], match: str) -> None:
    with pytest.raises(TrainingError, match=match):
        with_preset(None, given)


def test_a_data_set_smaller_than_the_micro_batch_needs_no_multiple() -> None:
    assert Settings(batch_size=20, micro_batch=32).batch_size == 20


def test_the_original_is_a_preset_and_what_is_given_goes_before() -> None:
    original = with_preset("roco-v1", {})
    assert (original.batch_size, original.micro_batch, original.accumulation) == (128, 32, "naive")
    assert (original.image_tower, original.logit_scale, original.precision) == ("last:30%", False, "fp16")
    assert with_preset("roco-v1", {"epochs": 2}) == Settings.from_dict({**original.to_dict(), "epochs": 2})
    with pytest.raises(TrainingError, match="there is roco-v1"):
        with_preset("roco-v9", {})


def test_settings_survive_json() -> None:
    settings = with_preset("roco-v1", {"seed": 3})
    assert Settings.from_dict(json.loads(json.dumps({**settings.to_dict(), "of a later version": 1}))) == settings
