"""What is special about a family is in one table, and the table is right about the checkpoints of each family."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import roco_search
from roco_search.models.catalogue.registry import find
from roco_search.models.families import FAMILIES, text_length
from roco_search.models.torch_encoder import TorchEncoder
from tests.models import checkpoints


@pytest.mark.parametrize(
    "make", [checkpoints.clip, checkpoints.siglip, checkpoints.siglip2, checkpoints.dual_encoder, checkpoints.open_clip]
)
def test_both_projections_are_where_the_table_says(make: Callable[[Path], Path], tmp_path: Path) -> None:
    checkpoint = find(make(tmp_path / "model"))
    family = FAMILIES[checkpoint.family]
    for projection in (family.image_projection, family.text_projection):
        assert any(name.startswith(f"{projection}.") for name in checkpoint.tensors)


@pytest.mark.parametrize(("make", "fills"), [(checkpoints.clip, False), (checkpoints.siglip, True)])
def test_only_siglip_fills_every_position(make: Callable[[Path], Path], fills: bool, tmp_path: Path) -> None:
    checkpoint = find(make(tmp_path / "model"))
    ids = TorchEncoder(checkpoint, "cpu").prepare_texts(["a"])["input_ids"]
    assert FAMILIES[checkpoint.family].pads_to_max is fills
    assert (ids.shape[1] == text_length(checkpoint.config)) is fills


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"model_type": "clip", "text_config": {"max_position_embeddings": 40}}, 40),
        ({"model_type": "clip"}, 77),
        ({"model_type": "siglip"}, 64),
        (
            {
                "model_type": "vision-text-dual-encoder",
                "text_config": {"model_type": "roberta", "max_position_embeddings": 514},
            },
            512,
        ),
    ],
)
def test_the_length_of_a_text_in_tokens(config: dict[str, object], length: int) -> None:
    assert text_length(config) == length


def test_no_other_file_asks_which_family_a_model_is_of() -> None:
    root = Path(roco_search.__file__).parent
    asks = re.compile(r"""(family|model_type)\)?\s*(==|!=|in\b)\s*["'(]|startswith\("siglip""")
    assert [path.name for path in root.rglob("*.py") if asks.search(path.read_text("utf-8"))] == []
