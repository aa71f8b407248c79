"""Two processes give the gradient of one, and end in the same weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roco_search.training.distributed import World

SCRIPT = Path(__file__).with_name("two_processes.py")


def launch(folder: Path, size: int) -> list[dict[str, object]]:
    """Start the script as ``torchrun`` would, in so many processes, and return what each of them found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_processes", str(folder), str(folder / f"{size}-{rank}")],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=SCRIPT.parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    return [json.loads((folder / f"{size}-{rank}.json").read_text()) for rank in range(size)]


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    (one,) = launch(tmp_path, 1)
    two = launch(tmp_path, 2)
    expected = torch.load(tmp_path / "1-0.pt", weights_only=True)
    whole = torch.cat([tensor.flatten() for tensor in expected.values()]).norm()
    for rank, told in enumerate(two):
        assert told["loss"] == pytest.approx(one["loss"], abs=1e-12)
        found = torch.load(tmp_path / f"2-{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            size = tensor.norm() if tensor.norm() > 1e-12 * whole else whole
            assert (found[name] - tensor).norm() / size < 1e-12, name
    assert [told["images"] for told in two] == [4, 4], "an unreadable image takes part nowhere"
    assert one["images"] == 8


@pytest.mark.slow
def test_a_run_of_two_processes_writes_once_and_ends_in_one_model(tmp_path: Path) -> None:
    two = launch(tmp_path, 2)
    assert two[0]["weights"] == two[1]["weights"], "both hold the same model"
    assert [told["notes"] for told in two] == [two[0]["notes"], 0]
    (one,) = launch(tmp_path, 1)
    for name in ("loss_first", "loss_last"):
        assert two[0][name] == pytest.approx(one[name], rel=1e-4)
    assert (tmp_path / "run-2" / "model.safetensors").is_file()
    log = [json.loads(line) for line in (tmp_path / "run-2" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3]


def test_parts_are_contiguous_even_and_whole() -> None:
    for count in range(9):
        for size in (1, 2, 3, 5):
            parts = [World(rank, size).part(count) for rank in range(size)]
            rows = [row for part in parts for row in range(count)[part]]
            assert rows == list(range(count))
            lengths = [part.stop - part.start for part in parts]
            assert max(lengths) - min(lengths) <= 1
