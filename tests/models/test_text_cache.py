"""Embeddings of fixed texts: computed once per model and arithmetic, then read; never needed to get an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roco_search.models import load_encoder
from roco_search.models.onnx_encoder import OnnxEncoder
from roco_search.models.text_cache import encode_texts_once
from tests.concepts import ConceptEncoder

TEXTS = ["chest X-ray", "CT of the abdomen"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    embed = OnnxEncoder.encode_texts
    monkeypatch.setattr(OnnxEncoder, "encode_texts", lambda self, texts: calls.append(len(texts)) or embed(self, texts))
    return calls


def remembered(cache: Path) -> list[Path]:
    return sorted(cache.glob("compiled/*/texts-*.npy"))


@pytest.fixture(autouse=True)
def forgotten(cache: Path) -> None:
    for path in remembered(cache):
        path.unlink()


def test_texts_are_embedded_once(counted: list[int], cache: Path) -> None:
    first = encode_texts_once(load_encoder("roco-mini"), TEXTS)
    again = encode_texts_once(load_encoder("roco-mini"), TEXTS)
    assert counted == [2] and again.dtype == np.float32
    assert np.array_equal(first, again) and np.array_equal(first, load_encoder("roco-mini").encode_texts(TEXTS))
    assert all(path.stat().st_mode & 0o077 == 0 for path in remembered(cache))


def test_other_texts_and_another_arithmetic_are_other_embeddings(counted: list[int], cache: Path) -> None:
    exact, fast = load_encoder("roco-mini"), load_encoder("roco-mini", precision="fast")
    assert not np.array_equal(encode_texts_once(exact, TEXTS), encode_texts_once(fast, TEXTS))
    encode_texts_once(exact, TEXTS[::-1])
    assert counted == [2, 2, 2] and len(remembered(cache)) == 3


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array"])
def test_a_damaged_file_is_made_again(counted: list[int], cache: Path, damage: bytes) -> None:
    first = encode_texts_once(load_encoder("roco-mini"), TEXTS)
    (path,) = remembered(cache)
    path.write_bytes(damage)
    assert np.array_equal(encode_texts_once(load_encoder("roco-mini"), TEXTS), first)
    assert counted == [2, 2] and np.array_equal(np.load(path), first)


def test_an_encoder_whose_weights_may_change_is_asked_each_time(cache: Path) -> None:
    encoder = ConceptEncoder()
    encode_texts_once(encoder, TEXTS)
    encode_texts_once(encoder, TEXTS)
    assert encoder.texts == TEXTS * 2 and not remembered(cache)
