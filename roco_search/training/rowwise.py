"""Random numbers of a tower, one stream for each row of the batch: dropout, stochastic depth and the like.

torch draws the masks of a chunk from one stream, so that the mask of a row depends on which rows are embedded with it,
and a batch in chunks of 4 has another gradient than the same batch in chunks of 8 or in two processes. Here each number
is a hash of the seed, the step, the tower, the layer, the row and its place in the row. Chunks, processes and padding
then change nothing, the second pass of `gradcache` repeats the first, and a resumed run needs no stored random state.

The hash is the finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195), applied once for each axis: a
counter-based generator (Salmon et al. 2011, doi:10.1145/2063384.2063405) in torch's own operations, on any device. A
place is hashed axis by axis, not by its offset, because the padded length of a text differs from chunk to chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from roco_search.errors import TrainingError

_GOLDEN = 0x9E3779B97F4A7C15
_SHIFTS = (30, 27, 31)
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_LANES = 4  # numbers of 16 bits in a hash of 64: a probability is met to within 1/131,072


@contextmanager
def rowwise(model: Any, key: Sequence[int], first: int, count: int) -> Iterator[None]:
    """Within the block, the random numbers of a tower belong to the rows that it is given.

    Parameters
    ----------
    model
        The model; with dropout in its attention, fused kernels are off on a GPU, for they draw inside.
    key
        What else the numbers depend on: the seed, the step and the number of the tower.
    first, count
        The rows: consecutive numbers from ``first`` within the whole batch.

    Raises
    ------
    TrainingError
        If the model draws from a distribution that is not known here.
    """
    with _Rowwise(key, first, count):
        if model.device.type == "cpu" or not _attention_dropout(model.config.to_dict()):
            yield
        else:
            with sdpa_kernel(SDPBackend.MATH):
                yield


class _Rowwise(TorchDispatchMode):
    """Draws for torch. It sees each operation below autograd, whichever module or function asked for it.

    A random tensor whose first axis is a multiple of the number of rows belongs to them in order, as batches, and the
    windows or heads within them, are laid out. Any other is the same for all rows.
    """

    def __init__(self, key: Sequence[int], first: int, count: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._key, self._first, self._count, self._layer = key, first, count, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Draw where torch would; leave everything else to torch."""
        given = dict(kwargs or {})
        if (draw := _DRAWS.get(func)) is not None:
            self._layer += 1
            return draw(self, *args, **given)
        if torch.Tag.nondeterministic_seeded in func.tags and _draws(func, args, given):
            raise TrainingError(
                f"The model draws random numbers by {func.name()}, which cannot be repeated for parts of a batch; "
                "set the dropout in its config.json to 0, or lock that tower."
            )
        return func(*args, **given)

    def keep(self, like: torch.Tensor, probability: float) -> torch.Tensor:
        """Return bool of the shape of ``like``, each True with ``probability``."""
        limit = round(probability * 65536) - 32768
        if limit > 32767:
            return torch.ones_like(like, dtype=torch.bool)
        lanes = self._hashes(like.shape, like.device, _LANES).view(torch.int16)
        return (lanes[..., : like.shape[-1] if like.ndim else 1] < limit).reshape(like.shape)

    def uniform(self, shape: Sequence[int], device: Any, dtype: torch.dtype | None) -> torch.Tensor:
        """Return numbers in [0, 1) of 24 bits, as torch's own are in float32."""
        words = self._hashes(shape, device, 1)
        numbers = (words >> 40 & 0xFFFFFF).to(torch.float32) / (1 << 24)
        return numbers.reshape(tuple(shape)).to(dtype or torch.get_default_dtype())

    def _hashes(self, shape: Sequence[int], device: Any, lanes: int) -> torch.Tensor:
        """Return a hash, int64, for each ``lanes`` elements along the last axis of ``shape``."""
        own = len(shape) > 0 and shape[0] % self._count == 0
        sizes = [shape[0] // self._count, *shape[1:]] if own else list(shape) or [1]
        sizes[-1] = -(-sizes[-1] // lanes)
        words = torch.zeros((), dtype=torch.int64, device=device)
        for number in (*self._key, self._layer):
            words = _split(words, torch.tensor(number, device=device))
        rows = torch.arange(self._first, self._first + self._count, device=device)
        words = _split(words, rows if own else rows.new_tensor([-1]))
        for size in sizes:
            words = _split(words.unsqueeze(-1), torch.arange(size, device=device))
        return words.flatten(0, 1)


def _split(words: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the hashes of the generators that stand at these places, counted from -1, below others."""
    words = words + (places + 2) * _signed(_GOLDEN)
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        shifted = words >> shift
        words.bitwise_xor_(shifted.bitwise_and_((1 << 64 - shift) - 1))  # int64 shifts its sign in
        if factor != 1:
            words.mul_(_signed(factor))
    return words


def _signed(number: int) -> int:
    """Return the int64 with the bits of a number of 64."""
    return number - (1 << 64) if number >> 63 else number


def _bernoulli(rows: _Rowwise, like: torch.Tensor, p: Any = None, **_: Any) -> torch.Tensor:
    if p is None:  # ``like`` holds the probabilities themselves
        p = like
    if isinstance(p, torch.Tensor):
        return (rows.uniform(like.shape, like.device, torch.float32) < p).to(like.dtype)
    return rows.keep(like, p).to(like.dtype)


def _dropout(rows: _Rowwise, tensor: torch.Tensor, p: float, train: bool | None) -> tuple[torch.Tensor, torch.Tensor]:
    if train is False or not p:
        return tensor.clone(), torch.ones_like(tensor, dtype=torch.bool)
    mask = rows.keep(tensor, 1 - p)
    return tensor * mask / (1 - p), mask


def _uniform(rows: _Rowwise, tensor: torch.Tensor, start: float = 0.0, end: float = 1.0, **_: Any) -> torch.Tensor:
    return tensor.copy_(rows.uniform(tensor.shape, tensor.device, torch.float32) * (end - start) + start)


aten = torch.ops.aten
_DRAWS: Mapping[Any, Callable[..., Any]] = {
    aten.native_dropout.default: _dropout,
    aten.bernoulli_.float: lambda rows, tensor, p=0.5, **_: tensor.copy_(rows.keep(tensor, p)),
    aten.bernoulli_.Tensor: lambda rows, tensor, p, **_: tensor.copy_(_bernoulli(rows, tensor, p)),
    aten.bernoulli.default: _bernoulli,
    aten.bernoulli.p: _bernoulli,
    aten.bernoulli.Tensor: _bernoulli,
    aten.uniform_.default: _uniform,
    aten.rand.default: lambda rows, size, dtype=None, device=None, **_: rows.uniform(size, device, dtype),
    aten.rand_like.default: lambda rows, like, dtype=None, **_: rows.uniform(
        like.shape, like.device, dtype or like.dtype
    ),
}


def _draws(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> bool:
    """Return whether an operation that may draw does: attention without dropout does not."""
    names = [argument.name for argument in func._schema.arguments]
    if "dropout_p" not in names:
        return True
    place = names.index("dropout_p")
    return "choice" not in func.name() and bool(args[place] if place < len(args) else given.get("dropout_p", 0.0))


def _attention_dropout(config: Any) -> bool:
    """Return whether a configuration or a part of it asks for dropout in attention."""
    return isinstance(config, dict) and any(
        _attention_dropout(value) or ("att" in name and "drop" in name and bool(value))
        for name, value in config.items()
    )
