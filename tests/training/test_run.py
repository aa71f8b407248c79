"""A run learns, repeats itself bit for bit, goes on where it stopped, and keeps the best model."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from roco_search import load_encoder
from roco_search.datasets.pair import Pair, PictureFile, TrainingData
from roco_search.errors import StorageFull, TrainingError
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.training import checkpoint
from roco_search.training.report import RunResult
from roco_search.training.run import Run, learning_rate_factor
from roco_search.training.selection import ValidationResult
from roco_search.training.settings import Settings
from tests.disk import files_up_to
from tests.imaging.test_ct_windows import by_hand, draw_ct
from tests.meter import Meter
from tests.models.checkpoints import FAMILIES
from tests.training.data import pair_set

SETTINGS = Settings(
    batch_size=6,
    micro_batch=2,
    learning_rate=3e-3,
    max_steps=8,
    epochs=9,
    eval_every=4,
    warmup=2,
    averaging=0.5,
    seed=3,
    keep_checkpoints=True,
)


class RecordedReport(Meter):
    """Records what a run reports; can stop it at a step, as Ctrl-C does."""

    def __init__(self, interrupt_at: int = 0) -> None:
        super().__init__()
        self.results: list[ValidationResult] = []
        self.notes: list[str] = []
        self._interrupt_at = interrupt_at

    def advance(self, count: int, **figures: float) -> None:
        super().advance(count, **figures)
        if figures["step"] == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    def validated(self, result: ValidationResult, best: bool) -> None:
        self.results.append(result)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def data(tmp_path: Path) -> TrainingData:
    return TrainingData(pair_set(tmp_path / "train"), pair_set(tmp_path / "validation", 6, "validation"), cut=False)


def make(
    data: TrainingData,
    folder: Path,
    name: str = "run",
    *,
    settings: Settings = SETTINGS,
    report: RecordedReport | None = None,
    family: str = "vision-text-dual-encoder",
    precision: Any = "fp32",
) -> Run:
    base = folder / family
    if not base.exists():
        FAMILIES[family](base)
    encoder = TorchEncoder(Checkpoint.open(str(base), base), "cpu", precision)
    return Run(encoder, data, settings, folder / name, report or RecordedReport())


def test_ct_is_learnt_from_in_the_windows_that_the_model_states(data: TrainingData, tmp_path: Path) -> None:
    base = FAMILIES["clip"](tmp_path / "clip")
    file = base / "preprocessor_config.json"
    plain = Checkpoint.open("plain", base).fingerprint
    file.write_text(json.dumps({**json.loads(file.read_text()), "ct_windows": [[2250, -100], [350, 40], [80, 40]]}))
    ct, hounsfield = draw_ct(tmp_path / "ct.dcm")
    pairs = [Pair(PictureFile(ct), "ct of the chest"), *data.train.pairs[:2]]
    data = replace(data, train=replace(data.train, pairs=pairs))
    run = make(data, tmp_path, settings=replace(SETTINGS, augment=False), family="clip")
    batch = next(run.batches.run(0, 1))
    given = batch.images[batch.rows.tolist().index(0)]
    half = by_hand(hounsfield).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))  # Pillow's bicubic is close to it on a ramp
    assert given is not None and np.abs(given - half)[1:-1, 1:-1].mean() < 4
    assert run.base_fingerprint != plain and "ct_windows" in file.read_text()


def resumed(data: TrainingData, folder: Path, name: str, **more: Any) -> Run:
    run = make(data, folder, name, **more)
    last = checkpoint.latest(folder / name)
    assert last is not None
    run.resume(checkpoint.load(last))
    return run


def state(run: Run) -> dict[str, torch.Tensor]:
    return {**run.model.state_dict(), **{f"average {name}": t for name, t in run.average.mean.items()}}


def equal(one: Run, two: Run) -> bool:
    a, b = state(one), state(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_repeats_itself_bit_for_bit(data: TrainingData, tmp_path: Path) -> None:
    report = RecordedReport()
    run, again = make(data, tmp_path, "one", report=report), make(data, tmp_path, "two")
    outcome: RunResult = run.train()
    again.train()
    assert outcome.ending == "finished" and outcome.step == 8
    losses = [line["loss"] for line in report.figures]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    assert equal(run, again)
    other = make(data, tmp_path, "three", settings=replace(SETTINGS, seed=4))
    other.train()
    assert not equal(run, other), "the seed counts"


@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_a_run_that_was_interrupted_ends_in_the_same_bits(data: TrainingData, tmp_path: Path, stop: int) -> None:
    """The base has dropout, so the random state matters as much as the optimiser's."""
    whole = make(data, tmp_path, "whole")
    whole.train()
    report = RecordedReport(interrupt_at=stop)
    assert make(data, tmp_path, "parts", report=report).train().ending == "interrupted"
    run = resumed(data, tmp_path, "parts")
    assert run.train().ending == "finished"
    assert equal(whole, run)
    for file in ("model.safetensors", "config.json", "training.json", "README.md"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes(), file
    logs = [
        [{k: v for k, v in json.loads(line).items() if k not in ("waited", "pairs_per_second")} for line in text]
        for name in ("whole", "parts")
        for text in [(tmp_path / name / "log.jsonl").read_text().splitlines()]
    ]
    assert logs[0] == logs[1], "what was written after the checkpoint is dropped, nothing is there twice"


def test_what_comes_out_is_a_model_like_any_other(data: TrainingData, tmp_path: Path) -> None:
    run = make(data, tmp_path)
    outcome = run.train()
    encoder = load_encoder(tmp_path / "run")
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in weights.values() if tensor.is_floating_point())
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(tmp_path / "run", local_files_only=True)
    assert AutoTokenizer.from_pretrained(tmp_path / "run", local_files_only=True)("brain")["input_ids"]
    pictures = [pair.picture.read() for pair in data.validation.pairs]
    if outcome.best_step == outcome.step:
        with run.average.applied():
            run.model.eval()
            assert np.array_equal(encoder.encode_images(pictures), run.encoder.encode_images(pictures))
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "run").glob("*.json"))
    assert Image.open(tmp_path / "run" / "curves.png").width > 500


def test_the_best_by_global_recall_is_kept_and_the_run_ends_when_it_gets_no_better(
    data: TrainingData, tmp_path: Path
) -> None:
    report = RecordedReport()
    settings = replace(SETTINGS, max_steps=40, eval_every=1, patience=3, learning_rate=1e-12, averaging=0.0)
    many = replace(data, validation=pair_set(tmp_path / "many", 50, "validation"))
    outcome = make(many, tmp_path, settings=replace(settings, keep_checkpoints=False), report=report).train()
    assert outcome.ending == "no better for a while" and outcome.kept == "best"
    means = [result.mean for result in report.results]
    assert outcome.best == max(means) and outcome.best_step == report.results[int(np.argmax(means))].step
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert facts["step"] == outcome.best_step
    assert outcome.step == outcome.best_step + 3
    assert facts["ended"]["step"] == outcome.step and not report.notes
    assert not (tmp_path / "run" / "checkpoints").exists(), "a finished run keeps its model"


def test_a_pool_too_small_to_choose_by_keeps_the_last_model(data: TrainingData, tmp_path: Path) -> None:
    report = RecordedReport()
    settings = replace(SETTINGS, eval_every=1, patience=1, learning_rate=1e-12, averaging=0.0)
    run = make(data, tmp_path, settings=settings, report=report)
    outcome = run.train()
    assert (outcome.ending, outcome.step, outcome.best_step, outcome.kept) == ("finished", 8, 8, "last")
    assert report.notes == [
        "The 6 validation pairs are too few to choose a model by (50 are needed): the last model is kept, and "
        "`patience` ends nothing."
    ]
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in run.model.state_dict().items() if name in kept)
    assert "the pool is too small to choose by" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.parametrize(("warmup", "taken"), [(0, 2), (5, 5), (20, 2), (500, 2)])
def test_a_warm_up_as_long_as_the_run_is_shortened_and_said(
    data: TrainingData, tmp_path: Path, warmup: int, taken: int
) -> None:
    report = RecordedReport()
    run = make(data, tmp_path, settings=replace(SETTINGS, max_steps=20, epochs=99, warmup=warmup), report=report)
    assert run.warmup == taken
    assert any(f"warm-up of {warmup} steps" in note for note in report.notes) == (warmup >= 20)


def test_the_text_tower_stays_when_it_is_locked(data: TrainingData, tmp_path: Path) -> None:
    run = make(data, tmp_path, settings=replace(SETTINGS, text_tower="locked", max_steps=2))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.train()
    moved = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and not {name for name in moved if name.startswith("text_")}


def test_half_precision_with_a_scaler_learns_and_keeps_float32_weights(data: TrainingData, tmp_path: Path) -> None:
    report = RecordedReport()
    gentle = replace(SETTINGS, learning_rate=1e-3)
    run = make(data, tmp_path, report=report, precision="fp16", settings=replace(gentle, precision="fp16"))
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)  # from 2 ** 16 on, the first steps overflow
    run.train()
    assert run.scaler.is_enabled() and run.scaler.get_scale() > 1
    assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())
    make(data, tmp_path, "full", settings=gentle, report=(full := RecordedReport())).train()
    found, expected = ([line["loss"] for line in each.figures] for each in (report, full))
    assert found == pytest.approx(expected, rel=2e-2)


def test_a_step_whose_gradient_overflows_is_left_out_and_the_scale_falls(data: TrainingData, tmp_path: Path) -> None:
    run = make(data, tmp_path, precision="fp16", settings=replace(SETTINGS, precision="fp16", max_steps=2))
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.train()
    assert run.scaler.get_scale() < 2.0**40
    assert all(torch.equal(before[name], p) for name, p in run.model.named_parameters())


def test_a_loss_that_is_not_finite_ends_the_run_and_the_checkpoint_is_intact(
    data: TrainingData, tmp_path: Path
) -> None:
    run = make(data, tmp_path, settings=replace(SETTINGS, checkpoint_every=2, eval_every=8))

    class Poison(RecordedReport):
        def advance(self, count: int, **figures: float) -> None:
            if figures["step"] == 3:
                with torch.no_grad():
                    next(run.model.parameters()).fill_(float("nan"))

    run.report = Poison()
    with pytest.raises(TrainingError, match=r"no longer finite at step 4; .*step-00000002.pt is intact"):
        run.train()
    state = checkpoint.load(checkpoint.checkpoint_folder(tmp_path / "run") / "step-00000002.pt")
    assert all(torch.isfinite(tensor).all() for tensor in state["weights"].values())


def test_a_corrupt_image_is_told_once_and_does_not_stop_the_run(data: TrainingData, tmp_path: Path) -> None:
    (tmp_path / "train" / "005.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    report = RecordedReport()
    outcome = make(data, tmp_path, report=report).train()
    assert outcome.ending == "finished"
    (name,) = outcome.unreadable
    assert name.endswith("005.png") and len([note for note in report.notes if "005.png" in note]) == 1


def test_a_full_disk_ends_the_run_with_one_sentence(data: TrainingData, tmp_path: Path) -> None:
    run = make(data, tmp_path)
    run.train()
    with files_up_to(60_000), pytest.raises(StorageFull, match=r"is full"):
        make(data, tmp_path, "fuller").train()
    (last,) = [checkpoint.latest(tmp_path / "run")]
    assert last is not None and checkpoint.load(last)["step"] == 8


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"learning_rate": 1e-5}, r"`learning_rate` was 0.003; set that"),
        ({"batch_size": 4}, r"`batch_size` was 6"),
    ],
)
def test_another_run_does_not_take_the_checkpoint(
    data: TrainingData, tmp_path: Path, change: dict[str, Any], match: str
) -> None:
    make(data, tmp_path, settings=replace(SETTINGS, max_steps=2)).train()
    with pytest.raises(TrainingError, match=match):
        resumed(data, tmp_path, "run", settings=replace(SETTINGS, max_steps=2, **change))


def test_neither_does_another_model_nor_other_data(data: TrainingData, tmp_path: Path) -> None:
    make(data, tmp_path, settings=replace(SETTINGS, max_steps=2)).train()
    with pytest.raises(TrainingError, match="another model"):
        resumed(data, tmp_path, "run", settings=replace(SETTINGS, max_steps=2), family="clip")
    fewer = replace(data, train=replace(data.train, pairs=data.train.pairs[:-1]))
    with pytest.raises(TrainingError, match="other training pairs"):
        resumed(fewer, tmp_path, "run", settings=replace(SETTINGS, max_steps=2))


def test_another_number_of_threads_is_said(data: TrainingData, tmp_path: Path) -> None:
    make(data, tmp_path, settings=replace(SETTINGS, max_steps=2)).train()
    threads, report = torch.get_num_threads(), RecordedReport()
    torch.set_num_threads(threads + 1)
    try:
        resumed(data, tmp_path, "run", settings=replace(SETTINGS, max_steps=2), report=report)
    finally:
        torch.set_num_threads(threads)
    assert report.notes[-1] == "Note: the number of threads changed, so the result will not be bit-identical."


def test_adapters_are_merged_into_what_is_saved(data: TrainingData, tmp_path: Path) -> None:
    settings = replace(SETTINGS, image_tower="lora:2", text_tower="lora:2", max_steps=4, learning_rate=1e-2)
    run = make(data, tmp_path, settings=settings)
    run.train()
    names = set(load_file(tmp_path / "run" / "model.safetensors"))
    assert not {name for name in names if "lora" in name or "base_layer" in name}
    assert load_encoder(tmp_path / "run").encode_texts(["brain mri"]).shape == (1, run.encoder.dim)
    again = resumed(data, tmp_path, "run", settings=settings)
    assert equal(run, again)


def bias_of(run: Run) -> float:
    bias = run.model.logit_bias
    assert isinstance(bias, torch.Tensor)
    return bias.item()


def test_the_sigmoid_objective_is_siglips_own(data: TrainingData, tmp_path: Path) -> None:
    report = RecordedReport()
    run = make(data, tmp_path, family="siglip", report=report)
    bias = bias_of(run)
    run.train()
    assert run.objective.name == "sigmoid"
    assert bias_of(run) != bias
    with pytest.raises(TrainingError, match="needs a logit bias"):
        make(data, tmp_path, "clip", family="clip", settings=replace(SETTINGS, objective="sigmoid"))


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    factors = [learning_rate_factor(step, 100, 5) for step in range(100)]
    assert factors[:5] == [0.2, 0.4, 0.6, 0.8, 1.0] and max(factors) == 1.0
    assert factors[5:] == sorted(factors[5:], reverse=True) and 0 < factors[-1] < 0.001
    assert learning_rate_factor(299, 2555, 500) == 0.6, "what is given is taken"


def test_tensorboard_gets_what_the_log_gets(data: TrainingData, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    base = FAMILIES["clip"](tmp_path / "clip")
    report = RecordedReport()
    encoder = TorchEncoder(Checkpoint.open("clip", base), "cpu", "fp32")
    Run(encoder, data, replace(SETTINGS, max_steps=3), tmp_path / "run", report, tensorboard=True).train()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    assert written == [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in report.figures]
    assert [event.step for event in events.Scalars("mean recall")] == [result.step for result in report.results]
