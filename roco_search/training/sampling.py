"""Which pairs a step is made of: a function of the seed and the step's number, so that a run can go on anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws batches of ``batch_size`` out of ``pairs`` pairs, never one pair twice in a batch.

    Without weights each epoch is a permutation of all pairs; what does not fill a batch at its end is left to the next
    epoch's luck. With weights float ``(pairs,)``, relative frequencies, each batch is drawn anew, and an epoch is as
    many batches. A data set smaller than the batch is one batch.
    """

    pairs: int
    batch_size: int
    seed: int
    weights: npt.NDArray[np.float64] | None = None

    @property
    def count(self) -> int:
        """Pairs in a batch."""
        drawable = self.pairs if self.weights is None else int(np.count_nonzero(self.weights))
        return min(self.batch_size, drawable)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return max(1, self.pairs // self.count)

    def batch(self, step: int) -> Indices:
        """Return the pairs of a step, counted from 0."""
        if self.weights is not None:
            random = np.random.default_rng((self.seed, 1, step))
            share = self.weights / self.weights.sum()
            return random.choice(self.pairs, self.count, replace=False, p=share)
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(self.pairs)
        return order[place * self.count : (place + 1) * self.count]
