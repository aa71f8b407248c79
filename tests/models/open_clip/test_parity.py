"""Converted checkpoints embed images and texts as open_clip 3.3 does, from the file and the picture to the vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roco_search.models import load_encoder
from roco_search.models.catalogue.local import import_any
from roco_search.models.checkpoint import Checkpoint
from tests.models.open_clip.published import golden, publish, tokenizer
from tests.models.open_clip.seeds import TEXTS, images

QUICK = ("448-px", "mean-pooler", "longest")  # These see the large picture too; it goes the same way in all.


@pytest.mark.parametrize("case", golden()["cases"])
def test_a_converted_checkpoint_embeds_as_open_clip_does(case: str, models: Path, tmp_path: Path) -> None:
    published = publish(tmp_path / "published", case)
    imported = import_any(published, "converted", tokenizer=tokenizer(tmp_path / "tokenizer", case))
    expected = golden()["cases"][case]
    encoder = load_encoder("converted", "cpu", "fp32")
    some = images() if case in QUICK else images()[:2]
    for found, name in ((encoder.encode_images(some), "images"), (encoder.encode_texts(TEXTS), "texts")):
        wanted = np.array(expected[name], np.float32)[: len(found)]
        assert np.linalg.norm(wanted[0] - wanted[1]) > 0.01, "the golden embeddings differ from one another"
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert encoder.dim == len(expected["texts"][0])
    assert encoder.logit_scale == pytest.approx(np.exp(2.5))
    assert encoder.logit_bias == (pytest.approx(-10.0) if case == "longest" else None)
    assert Checkpoint.open("again", imported.directory).fingerprint == imported.fingerprint
