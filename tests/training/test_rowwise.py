"""The random numbers of a row depend on its number, the layer, the step and the seed, not on its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from roco_search.errors import TrainingError
from roco_search.training.rowwise import rowwise

MODEL = BertModel(
    BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
)
Draw = Callable[[torch.Tensor], torch.Tensor]


def drawn(draw: Draw, rows: torch.Tensor, first: int = 0, key: tuple[int, ...] = (0, 0, 0)) -> torch.Tensor:
    with rowwise(MODEL, key, first, len(rows)):
        return draw(rows)


def drop_path(rows: torch.Tensor) -> torch.Tensor:
    """Stochastic depth, as transformers and timm write it."""
    keep = 0.7 + torch.rand((rows.shape[0],) + (1,) * (rows.ndim - 1), dtype=rows.dtype)
    return rows.div(0.7) * keep.floor()


def attention(rows: torch.Tensor) -> torch.Tensor:
    heads = rows.unflatten(-1, (2, -1)).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.4)


def windows(rows: torch.Tensor) -> torch.Tensor:
    """Several masks a row, as windowed attention has them."""
    return F.dropout(rows.reshape(-1, *rows.shape[2:]), 0.4).reshape(rows.shape)


torch.manual_seed(0)
MULTIHEAD = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
DRAWS: dict[str, Draw] = {
    "dropout": lambda rows: F.dropout(rows, 0.3),
    "dropout of channels": lambda rows: F.dropout1d(rows, 0.3),
    "alpha dropout": lambda rows: F.alpha_dropout(rows, 0.3, training=True),
    "bernoulli": lambda rows: torch.bernoulli(torch.full_like(rows, 0.3)),
    "noise": lambda rows: torch.empty_like(rows).uniform_(-2, 3),
    "like": torch.rand_like,
    "stochastic depth": drop_path,
    "windows": windows,
    "attention": attention,
    "torch's own attention": lambda rows: MULTIHEAD(rows, rows, rows)[0],
}


@pytest.mark.parametrize("name", DRAWS)
def test_chunks_change_nothing(name: str) -> None:
    rows, first = torch.randn(7, 5, 8, generator=torch.Generator().manual_seed(1)), 3
    whole = drawn(DRAWS[name], rows, first)
    for size in range(1, 7):
        parts = [drawn(DRAWS[name], part, first + i * size) for i, part in enumerate(rows.split(size))]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    assert not torch.equal(drawn(DRAWS[name], rows, first, (0, 1, 0)), whole)


def test_padding_changes_nothing() -> None:
    short, long = torch.ones(4, 2, 6, 6), torch.ones(4, 2, 11, 11)
    mask = drawn(DRAWS["dropout"], long)
    assert torch.equal(drawn(DRAWS["dropout"], short), mask[:, :, :6, :6])


def test_a_tower_is_the_same_in_chunks_and_longer_with_padding() -> None:
    """BERT with all its dropout, of which attention has its own."""
    model, ids = MODEL.train(), torch.arange(24).reshape(6, 4) % 9

    def last(ids: torch.Tensor, mask: torch.Tensor, first: int) -> torch.Tensor:
        with rowwise(model, (3, 2, 1), first, len(ids)):
            return model(input_ids=ids, attention_mask=mask).last_hidden_state

    whole = last(ids, torch.ones_like(ids), 0)
    padded, mask = F.pad(ids, (0, 3)), F.pad(torch.ones_like(ids), (0, 3))
    torch.testing.assert_close(torch.cat([last(padded[:2], mask[:2], 0), last(padded[2:], mask[2:], 2)])[:, :4], whole)
    assert not torch.allclose(last(ids, torch.ones_like(ids), 6), whole)


@settings(max_examples=20)
@given(probability=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_a_share_of_p_is_dropped_and_the_rest_scaled(probability: float, seed: int) -> None:
    kept = drawn(lambda rows: F.dropout(rows, probability), torch.ones(4, 30, 384), key=(seed, 5, 1))
    share = (kept != 0).double().mean().item()
    assert abs(share - (1 - probability)) < 6 * (probability * (1 - probability) / kept.numel()) ** 0.5 + 1e-5
    assert probability == 1 or torch.allclose(kept[kept != 0], torch.tensor(1 / (1 - probability)))


def test_rows_layers_steps_and_seeds_are_independent() -> None:
    """Masks of p = 1/2 agree at half of their places, whatever is changed; neighbours too."""
    ones = torch.ones(8, 4096)

    def two_layers(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([F.dropout(rows, 0.5), F.dropout(rows, 0.5)])

    masks = [drawn(two_layers, ones, key=key) != 0 for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    every = torch.cat([mask.flatten(0, 1) for mask in masks]).double() * 2 - 1
    agreement = every @ every.T / every.shape[1]
    assert (agreement - torch.eye(len(every))).abs().max() < 6 / 4096**0.5
    assert (every[:, 1:] * every[:, :-1]).mean().abs() < 6 / (every.numel()) ** 0.5


def test_uniform_numbers_are_uniform() -> None:
    numbers = drawn(torch.rand_like, torch.empty(16, 4096)).flatten().double()
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = torch.histc(numbers, 64, 0, 1)
    expected = len(numbers) / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 6 * (2 * 63) ** 0.5


def test_the_state_of_torch_is_left_alone() -> None:
    before = torch.get_rng_state()
    drawn(DRAWS["attention"], torch.randn(2, 3, 8, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_repeated_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"by aten::randn.*set the dropout"):
        drawn(torch.randn_like, torch.empty(2, 3))
