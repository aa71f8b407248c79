"""A text tower of which at most the projection is trained: every caption passes through it once, before the first step.

What a frozen tower makes of a caption never changes (Zhai et al. 2022, arXiv:2111.07991, section 3), so it is computed
ahead and kept; a step then costs one matrix product. The captions go in fixed company, sorted by length, so that a
resumed run finds the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from roco_search.training.settings import Settings
from roco_search.training.towers import parse, projection

AT_ONCE = 64


class FrozenTexts:
    """Embeds captions from what the frozen tower gave for them.

    Parameters
    ----------
    model
        With a linear text projection; see `can_freeze`.
    captions
        All that will ever be asked for.
    encode
        Runs the whole text side on a chunk.
    """

    def __init__(
        self, model: nn.Module, captions: Iterable[str], encode: Callable[[Sequence[str]], torch.Tensor]
    ) -> None:
        self._projection = model.get_submodule(projection(model, "text").rstrip("."))
        self._captions, self._encode = captions, encode
        self._before: torch.Tensor | None = None
        self._row: dict[str, int] = {}

    def __call__(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the projected features ``(n, dim)`` of captions, with the graph of the projection."""
        if self._before is None:
            self._before = self._run()
        return self._projection(self._before[[self._row[caption] for caption in captions]])  # type: ignore[no-any-return]

    def _run(self) -> torch.Tensor:
        distinct = sorted(set(self._captions), key=lambda caption: (len(caption), caption))
        self._row = {caption: row for row, caption in enumerate(distinct)}
        taken: list[torch.Tensor] = []
        hook = self._projection.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].detach()))
        try:
            with torch.no_grad():
                for start in range(0, len(distinct), AT_ONCE):
                    self._encode(distinct[start : start + AT_ONCE])
        finally:
            hook.remove()
        return torch.cat(taken)


def can_freeze(model: nn.Module, settings: Settings) -> bool:
    """Whether nothing of the text tower learns below a linear projection."""
    if parse(settings.text_tower).kind not in ("projection", "locked"):
        return False
    return isinstance(model.get_submodule(projection(model, "text").rstrip(".")), nn.Linear)
