"""What is uploaded is the model, its card and its settings; nothing else that lies in a run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from roco_search.errors import HubError, InputError
from roco_search.training.outcome.output import push
from tests.hub.hub_server import Hub


@pytest.fixture
def folder(tmp_path: Path, clip_folder: Path) -> Path:
    """A run's folder: a model and what else lies there."""
    run = tmp_path / "run"
    run.mkdir()
    for path in clip_folder.iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    for name in ("training.json", "curves.png", "log.jsonl", "notes about Mrs Doe.txt", "events.out.tfevents.1"):
        (run / name).write_text("{}")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-00000001.pt").write_bytes(b"0")
    return run


def test_the_model_goes_up_and_nothing_else(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    address = push(folder, "org/tuned")
    assert address.endswith("/org/tuned")
    assert hub.created[0]["visibility"] == "private"
    names = {name.removeprefix("org/tuned/") for name in hub.pushed}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "training.json", "curves.png"} <= names
    assert names <= {path.name for path in folder.iterdir()} - {
        "log.jsonl",
        "notes about Mrs Doe.txt",
        "checkpoints",
        "events.out.tfevents.1",
    }
    assert hub.pushed["org/tuned/model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_who_may_not_write_there_is_told_how(folder: Path, hub: Hub) -> None:
    with pytest.raises(HubError, match=r"answered 401 when org/tuned was uploaded; set HF_TOKEN .*hf auth login"):
        push(folder, "org/tuned")
    assert not hub.pushed


def test_without_a_network_the_model_stays(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=f"cannot be reached .*Everything is in {folder}"):
        push(folder, "org/tuned")


def test_a_name_that_is_none(folder: Path, hub: Hub) -> None:
    with pytest.raises(InputError, match="write it as ORG/NAME"):
        push(folder, "not a name")
