"""A checkpoint is whole or not there; what was there before stays until the next one is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from roco_search.errors import StorageFull, TrainingError
from roco_search.training import checkpoint
from tests.disk import files_up_to


def test_the_newest_two_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    for step in (1, 2, 30):
        checkpoint.save(tmp_path, step, {"weights": {"w": torch.full((3,), float(step))}})
    names = sorted(path.name for path in checkpoint.checkpoint_folder(tmp_path).iterdir())
    assert names == ["step-00000002.pt", "step-00000030.pt"]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    state = checkpoint.load(found)
    assert state["step"] == 30 and torch.equal(state["weights"]["w"], torch.full((3,), 30.0))


def test_an_old_one_that_cannot_be_removed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {})
    monkeypatch.undo()
    checkpoint.save(tmp_path, 4, {})
    assert [path.name for path in sorted(checkpoint.checkpoint_folder(tmp_path).iterdir())] == [
        "step-00000003.pt", "step-00000004.pt",
    ]  # fmt: skip


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"weights": torch.zeros(10)})
    with (
        files_up_to(20_000),
        pytest.raises(StorageFull, match=r"full.*continue from step-00000001.pt with `resume=True`"),
    ):
        checkpoint.save(tmp_path, 2, {"weights": torch.zeros(100_000)})
    assert [path.name for path in checkpoint.checkpoint_folder(tmp_path).iterdir()] == ["step-00000001.pt"]
    assert checkpoint.load(checkpoint.checkpoint_folder(tmp_path) / "step-00000001.pt")["step"] == 1


def test_damage_is_found_by_its_check_sums(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, {"weights": torch.arange(4096.0)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # one bit in the middle of the tensor
    path.write_bytes(data)
    with pytest.raises(TrainingError, match="is damaged; delete it"):
        checkpoint.load(path)
    path.write_bytes(data[:100])
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.load(path)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "harmed",))

    folder = checkpoint.checkpoint_folder(tmp_path)
    folder.mkdir()
    torch.save({"format": 1, "weights": Harm()}, folder / "step-00000001.pt")
    with pytest.raises(TrainingError, match="damaged"):
        checkpoint.load(folder / "step-00000001.pt")
    assert not (tmp_path / "harmed").exists()


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(TrainingError, match="another version of roco"):
        checkpoint.load(path)
