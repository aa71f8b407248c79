"""The features of a frozen text tower, computed once for every caption.

Where only the projection of the text tower learns, or nothing of it, the features of a caption below the projection
never change (Zhai et al. 2022, arXiv:2111.07991, section 3). They are computed before the first step and kept; a step
then costs one matrix product. The captions are always embedded in the same batches, sorted by length, so that a resumed
run gets the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from roco_search.training.settings import Settings
from roco_search.training.towers import parse_tower, projection

AT_ONCE = 64


class CachedTexts:
    """Embeds captions from the stored features of the frozen tower.

    Parameters
    ----------
    model
        A model with a linear text projection; see `can_cache`.
    captions
        All captions of the run.
    encode
        Runs the text tower and its projection on a chunk.
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


def can_cache(model: nn.Module, settings: Settings) -> bool:
    """Return whether nothing of the text tower learns below a linear projection."""
    if parse_tower(settings.text_tower).kind not in ("projection", "locked"):
        return False
    return isinstance(model.get_submodule(projection(model, "text").rstrip(".")), nn.Linear)
