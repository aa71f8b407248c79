"""Two processes give the gradient of one, and end in the same weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from roco_search.training import checkpoint
from roco_search.training.distributed import ProcessGroup
from roco_search.training.session import Session
from roco_search.training.settings import Settings
from tests.cli.commands.test_train import imagefolder
from tests.models.checkpoints import clip
from tests.training import processes, two_processes
from tests.training.data import draw
from tests.training.gradients import difference, worst
from tests.training.test_run import RecordedReport


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process found, "one", and what each of two did, "two-0" and "two-1"."""
    folder = tmp_path_factory.mktemp("processes")
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    started = [
        processes.start(
            two_processes.work, folder, "two", environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    threads = torch.get_num_threads()
    two_processes.work(folder, "one")
    torch.set_num_threads(threads)
    for process in started:
        process.join(timeout=240)
        assert process.exitcode == 0
    return {
        "folder": folder,
        **{name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("one-0", "two-0", "two-1")},
    }


def test_two_processes_give_the_gradient_of_one(found: dict[str, Any]) -> None:
    expected = found["one-0"]["exact"]
    for rank in range(2):
        each = found[f"two-{rank}"]["exact"]
        assert each["loss"] == pytest.approx(expected["loss"], abs=1e-12)
        assert worst(each["gradient"], expected["gradient"]) < 1e-12
        assert each["images"] == 4, "an unreadable image takes part nowhere"
    assert expected["images"] == 8


def test_so_they_do_for_roco_mini_with_its_dropout_in_float32(found: dict[str, Any]) -> None:
    expected = found["one-0"]["with dropout"]
    for rank in range(2):
        each = found[f"two-{rank}"]["with dropout"]
        assert each["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert difference(each["gradient"], expected["gradient"]) < 1e-6


def test_a_run_of_two_processes_writes_once_and_ends_in_one_model(found: dict[str, Any]) -> None:
    one, first, second = found["one-0"], found["two-0"], found["two-1"]
    assert all(torch.equal(tensor, second["weights"][name]) for name, tensor in first["weights"].items())
    assert (first["notes"], second["notes"]) == (one["notes"], 0)
    assert first["losses"] == pytest.approx(one["losses"], rel=1e-4)
    run = found["folder"] / "run-two"
    assert (run / "model.safetensors").is_file()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3]


@pytest.mark.slow
def test_torchrun_trains_on_two_processors_as_one_process_would(tmp_path: Path) -> None:
    """The command line of the manual, with two real processes and gloo."""
    data = imagefolder(tmp_path / "pairs", [pair.caption for pair in draw(tmp_path / "pairs")])
    base = str(clip(tmp_path / "clip"))
    train = ["train", str(data), "--base", base, "--device", "cpu", "--keep-checkpoints"]
    train += ["--batch-size", "6", "--micro-batch", "3", "--max-steps", "3", "--learning-rate", "1e-3"]
    started = subprocess.Popen(
        [*torchrun(), "--nproc-per-node", "2", "-m", "roco_search", *train, "--output", str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PET_MASTER_PORT": free_port()},
        stderr=subprocess.PIPE,
        text=True,
    )
    settings = Settings(batch_size=6, micro_batch=3, max_steps=3, learning_rate=1e-3)
    Session(str(data), base, tmp_path / "one", settings, (), (), (), "cpu", RecordedReport()).train(resume=False)
    printed = started.communicate(timeout=240)[1]
    assert started.returncode == 0, printed
    assert printed.count("split off train") == 1, "only one process prints"
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [line["step"] for line in two] == [line["step"] for line in one], "each step is written once"
    for expected, line in zip(one, two, strict=True):
        for name in expected.keys() & {"loss", "gradient_norm", "mean recall"}:
            assert line[name] == pytest.approx(expected[name], rel=1e-4), (name, line["step"])
    (last,) = (tmp_path / "two" / "checkpoints").glob("step-00000003.pt")
    assert checkpoint.load(last)["identity"]["processes"] == 2
    assert (tmp_path / "two" / "model.safetensors").is_file()


def torchrun() -> list[str]:
    """The command of this environment; where it has none, the module that it starts."""
    command = Path(sys.executable).with_name("torchrun")
    return [str(command)] if command.exists() else [sys.executable, "-m", "torch.distributed.run"]


def test_shards_are_contiguous_even_and_whole() -> None:
    for count in range(9):
        for size in (1, 2, 3, 5):
            parts = [ProcessGroup(rank, size).shard(count) for rank in range(size)]
            rows = [row for part in parts for row in range(count)[part]]
            assert rows == list(range(count))
            lengths = [part.stop - part.start for part in parts]
            assert max(lengths) - min(lengths) <= 1
