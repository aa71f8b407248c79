"""What a run says of itself: to whoever follows it, to its checkpoints, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from roco_search.system.progress import Progress
from roco_search.training.selection import ValidationResult

Ending = Literal["finished", "no better for a while", "interrupted"]


class Report(Progress, Protocol):
    """Follows a run: its steps as any `Progress`, each with the figures of its line in the log, and what is between."""

    def validated(self, result: ValidationResult, best: bool) -> None:
        """The model was validated; ``best`` is whether it is kept: the best so far, or the last if none is chosen."""

    def note(self, text: str) -> None:
        """Show a sentence to the person."""


@dataclass(slots=True)
class RunState:
    """How far a run is, under the names that a checkpoint has for it.

    Attributes
    ----------
    step, looked
        The last step, and the last that was validated; -1 for none.
    best, best_step
        The best mean recall so far, and its step.
    looks
        The number of validations since then.
    unreadable
        The images that could not be read, by name, with the reason.
    """

    step: int = 0
    looked: int = -1
    best: float = -1.0
    best_step: int = 0
    looks: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``seconds`` and ``waited`` are those of the steps of this process, without validation.

    ``best_step`` and ``best`` are those of the model that was kept, and ``kept`` is why: it is the best by the
    validation split, or the last, because the split is too small to choose by.
    """

    ending: Ending
    step: int
    best_step: int
    best: float
    seconds: float
    waited: float
    pairs: int
    unreadable: Mapping[str, str]
    kept: Literal["best", "last"] = "best"
