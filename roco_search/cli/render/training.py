"""How ``roco train`` reports a run in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roco_search.cli.progress import ProgressBar

if TYPE_CHECKING:
    from roco_search.training.selection import ValidationResult


class TrainingProgress(ProgressBar):
    """A bar on a terminal, an occasional line elsewhere, nothing when quiet; evaluations and notes are lines."""

    def __init__(self, quiet: bool) -> None:
        super().__init__("Training", quiet, figures=("loss", "pairs_per_second"), unit="step")

    def validated(self, result: ValidationResult, best: bool) -> None:
        """Print what a validation found."""
        recalls = result.recalls
        self.say(
            f"step {result.step:,}: recall@10 among {result.pool:,}: image to text "
            f"{recalls['image-to-text recall@10']:.3f}, text to image {recalls['text-to-image recall@10']:.3f}; "
            f"mean recall {result.mean:.3f}{'  (best, kept)' if best else ''}"
        )

    def note(self, text: str) -> None:
        """Print something that the user should know."""
        self.say(text)
