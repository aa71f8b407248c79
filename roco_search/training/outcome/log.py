"""The log of a run: a line of JSON for each step, TensorBoard if it is asked for, and the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roco_search.errors import TrainingError
from roco_search.figures import PALETTE, style, write_png
from roco_search.system.files import write_errors, write_file

LOG = "log.jsonl"
CURVES = "curves.png"


class Log:
    """Appends to ``log.jsonl``; each line is a step (``loss``, …) or a validation (``recall@…``).

    ``first`` is the step from which the run resumes; lines that an interrupted run wrote after it are dropped.
    """

    def __init__(self, output: Path, first: int = 0, tensorboard: bool = False) -> None:
        self.path = output / LOG
        kept = [line for line in read(self.path) if line["step"] <= first] if first else []
        with write_errors(output):
            output.mkdir(parents=True, exist_ok=True)
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept), mode=None)
        self._board = _board(output, first) if tensorboard else None

    def write(self, line: Mapping[str, Any]) -> None:
        """Add one line, at once."""
        with write_errors(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in line.items():
                if name != "step" and isinstance(value, int | float):
                    self._board.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, without one that was cut short."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # the machine went down while it was written
            continue
        lines.append(line)
    return lines


def _board(output: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "`tensorboard` needs TensorBoard, which is not installed; run pip install 'roco-search[train]'."
        ) from None
    return SummaryWriter(str(output / "tensorboard"), purge_step=first + 1 if first else None)


def draw_curves(output: Path, title: str) -> Path:
    """Draw the loss and the validation recalls of a log as ``curves.png``, and return where it is."""
    lines = read(output / LOG)
    steps = [line for line in lines if "loss" in line]
    looks = [line for line in lines if "mean recall" in line]
    with style() as figure:
        drawn = figure(figsize=(9, 3.4))
        left, right = drawn.subplots(1, 2)
        left.plot([line["step"] for line in steps], [line["loss"] for line in steps], alpha=0.35)
        left.plot([line["step"] for line in steps], _smooth([line["loss"] for line in steps]), color=PALETTE[0])
        left.set(title="Loss", xlabel="step")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
        for name, label in (
            ("mean recall", "mean of all six"),
            ("image-to-text recall@10", "image to text, recall@10"),
            ("text-to-image recall@10", "text to image, recall@10"),
        ):
            right.plot([line["step"] for line in looks], [line[name] for line in looks], marker="o", ms=3, label=label)
        pool = looks[-1]["pool"] if looks else 0
        right.set(title=f"Validation, whole pool of {pool:,}", xlabel="step", ylim=(0, None))
        right.legend()
        drawn.suptitle(title, fontsize=9, color="#555555")
    write_png(output / CURVES, drawn)
    return output / CURVES


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the running mean over a fiftieth of the run."""
    width = max(1, len(values) // 50)
    return [sum(values[max(0, i - width + 1) : i + 1]) / min(i + 1, width) for i in range(len(values))]
