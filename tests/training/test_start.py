"""A run begins anew, continues, or prolongs one that has ended; what it has achieved is never overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from roco_search.errors import InputError, StorageFull, TrainingError
from roco_search.models.catalogue.archive import export_model
from roco_search.system.files import temporary_name
from roco_search.training import checkpoint
from roco_search.training.session import Session
from roco_search.training.settings import Settings
from roco_search.training.start import Start, choose_start
from tests.cli.commands.test_train import imagefolder
from tests.disk import files_up_to
from tests.models.checkpoints import clip
from tests.training.data import draw
from tests.training.test_run import RecordedReport

SETTINGS = Settings(batch_size=4, micro_batch=2, learning_rate=1e-3, max_steps=2, precision="fp32")


LOGIN = "login-of-anna-5f2c"
PRIVATE = [LOGIN.encode(), LOGIN.encode("utf-16-le"), str(Path.cwd()).encode()]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder beside its data and its base, all in a person's home."""
    home = tmp_path / LOGIN
    monkeypatch.setenv("HOME", str(home))
    imagefolder(home / "data", [pair.caption for pair in draw(home / "data", 12)])
    clip(home / "clip")
    return home / "out"


def session(output: Path, settings: Settings = SETTINGS, report: RecordedReport | None = None) -> Session:
    places = str(output.parent / "data"), str(output.parent / "clip"), output
    return Session(*places, settings, (), (), (), "cpu", report or RecordedReport())


def steps(output: Path) -> list[int]:
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "loss" in line]


def test_a_finished_run_is_prolonged_on_a_fresh_schedule(output: Path) -> None:
    session(output).train(resume=False)
    assert not (output / "checkpoints").exists()
    export_model(output, output / "model.zip")
    assert not [path.name for path in output.iterdir() if any(name in path.read_bytes() for name in PRIVATE)]
    (output / "model.zip").unlink()
    first = load_file(output / "model.safetensors")
    report = RecordedReport()
    result = session(output, report=report).train(resume=False, prolong=1)
    assert result is not None and (result.step, result.ending) == (4, "finished")
    assert "Continuing from step 2." in report.notes
    assert steps(output) == [1, 2, 3, 4]
    rates = [line["learning_rate"] for line in report.figures]
    assert rates[0] == SETTINGS.learning_rate, "the schedule begins anew"
    last = load_file(output / "model.safetensors")
    assert any(not (first[name] == last[name]).all() for name in first)
    assert not (output / "checkpoints").exists()


def test_a_prolonged_run_that_is_broken_off_continues_to_the_same_bits(output: Path) -> None:
    longer = Settings(batch_size=4, micro_batch=2, learning_rate=1e-3, epochs=1, checkpoint_every=1, precision="fp32")
    weights = []
    for place, stop in ((output, 0), (output.with_name("stopped"), 3)):
        session(place, longer).train(resume=False)
        report = RecordedReport(interrupt_at=stop)
        result = session(place, longer, report).train(resume=False, prolong=2)
        if stop:
            assert result is not None and result.ending == "interrupted"
            with pytest.raises(InputError, match="already contains a run; continue it with `resume=True`"):
                session(place, longer).train(resume=False, prolong=2)
            session(place, longer).train(resume=True, prolong=2)
        weights.append((place / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_what_has_ended_is_left_alone(output: Path) -> None:
    session(output).train(resume=False)
    before = (output / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="finished run; train it for more epochs with `prolong`"):
        session(output).train(resume=False)
    report = RecordedReport()
    result = session(output, report=report).train(resume=True)
    assert result is not None and (result.step, result.pairs, result.kept) == (2, 0, "last")
    assert "ended at step 2" in report.notes[-1]
    assert (output / "model.safetensors").read_bytes() == before
    with pytest.raises(TrainingError, match="`batch_size` was 4"):
        session(output, Settings(batch_size=6, micro_batch=2)).train(resume=True)


def test_after_a_full_disk_the_same_command_works_with_or_without_resume(output: Path) -> None:
    for resume in (False, True):
        with (
            files_up_to(20_000),
            pytest.raises(StorageFull, match=r"Free some space and run the same command again with `resume=True`"),
        ):
            session(output).train(resume=False)
        result = session(output).train(resume=resume)
        assert result is not None and result.step == 2
        for file in output.iterdir():
            file.unlink()
        output.rmdir()


def test_a_fresh_folder_is_asked_for(tmp_path: Path) -> None:
    assert choose_start(tmp_path / "new", resume=False) == Start()
    with pytest.raises(InputError, match="has no finished run"):
        choose_start(tmp_path / "new", resume=False, prolong=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        choose_start(tmp_path, resume=False)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(InputError, match="is not empty"):
        choose_start(tmp_path, resume=False)
    killed = tmp_path / "killed"
    killed.mkdir()
    temporary_name(killed / "log.jsonl").touch()
    assert choose_start(killed, resume=False) == Start(), "a run was killed while it made its first file"
    path = checkpoint.save(tmp_path / "run", 3, {})
    with pytest.raises(InputError, match="continue it with `resume=True`"):
        choose_start(tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="has not ended; continue it without `prolong`"):
        choose_start(tmp_path / "run", resume=True, prolong=1)
    assert choose_start(tmp_path / "run", resume=True) == Start(path)
    with pytest.raises(InputError, match="is a file"):
        choose_start(tmp_path / "notes.txt", resume=False)


def test_captions_that_are_cut_or_cannot_be_read_are_counted_before_the_first_step(output: Path) -> None:
    pairs, report = output.parent / "data", RecordedReport()
    captions = [
        "brain " * 40,
        "chest " * 40,
        "brain mri",
        "胸部 肺炎",
        *(f"ct of case {number}" for number in range(8)),
    ]
    imagefolder(pairs, captions)
    assert session(output, report=report).plan() is not None
    (cut,) = [note for note in report.notes if "tokens" in note]
    assert cut == "2 of 10 captions are longer than 20 tokens; the model reads no more of them."
    assert report.done == report.total == 2, "a dry run shows its progress"
    (unread,) = [note for note in report.notes if "script" in note]
    assert unread.startswith("1 of 10 captions")


def test_a_model_without_its_checkpoints_is_not_overwritten(output: Path) -> None:
    """Somebody deleted the checkpoints of an interrupted run, which has a better model than its base."""
    session(output).train(resume=False)
    facts = json.loads((output / "training.json").read_text())
    del facts["ended"]
    (output / "training.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="is not empty"):
        choose_start(output, resume=False)
