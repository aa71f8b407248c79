"""Pictures become rows; what cannot be read shifts nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from roco_search.datasets.layouts.arrow import ArrowPicture
from roco_search.datasets.pair import Pair, PictureFile
from roco_search.errors import InputError
from roco_search.evaluation import embed as module
from roco_search.evaluation.embed import embed, embed_with_each
from roco_search.imaging import CtWindows
from roco_search.models import load_encoder
from roco_search.system.process import cores
from tests.concepts import ConceptEncoder, draw
from tests.evaluation.made import Broken, Drawn, pair_set, pairs
from tests.imaging.test_ct_windows import WINDOWS, by_hand, draw_ct
from tests.meter import Meter
from tests.models.checkpoints import clip


def test_rows_belong_to_their_pairs() -> None:
    made, encoder = pairs(12), ConceptEncoder()
    found = embed(encoder, pair_set(made))
    assert found.pairs == made and not found.unreadable
    assert found.images.dtype == found.texts.dtype == np.float32
    assert np.allclose(found.images, encoder.encode_images([pair.picture.read() for pair in made]))
    assert np.allclose(found.texts, encoder.encode_texts([pair.caption for pair in made]))
    assert found.captions == [pair.caption for pair in made]


def test_a_broken_picture_in_the_middle_shifts_nobody() -> None:
    made = pairs(8)
    whole = embed(ConceptEncoder(), made)
    made[3] = Pair(Broken("images/3.png"), "normal mri")
    made[6] = Pair(Broken("images/6.png", ValueError("Doe^Jane")), "normal ct")
    meter = Meter()
    found = embed(ConceptEncoder(), made, progress=meter)
    assert [(entry.name, entry.reason) for entry in found.unreadable] == [
        ("images/3.png", "it ends too early; copy it again"),
        ("images/6.png", "reading it failed (ValueError); try again"),
    ]
    kept = [0, 1, 2, 4, 5, 7]
    assert found.pairs == [made[row] for row in kept]
    assert np.array_equal(found.images, whole.images[kept]) and np.array_equal(found.texts, whole.texts[kept])
    assert (meter.total, meter.done, meter.stopped) == (8, 8, True)


def test_identical_captions_are_embedded_once_and_identically() -> None:
    encoder = ConceptEncoder()
    found = embed(encoder, pairs(40))
    assert len(encoder.texts) == 4
    assert np.array_equal(found.texts[0], found.texts[4])
    assert embed(encoder, pairs(8), captions=False).texts.shape == (0, encoder.dim)
    assert len(encoder.texts) == 4, "captions that nobody asked for are not embedded"


def test_two_models_read_each_picture_once() -> None:
    made = pairs(8)
    first, second = embed_with_each([ConceptEncoder(), ConceptEncoder("other")], made)
    assert [pair.picture.reads for pair in made if isinstance(pair.picture, Drawn)] == [1] * 8
    assert np.array_equal(first.images, second.images) and first.pairs is second.pairs


class Watching(ConceptEncoder):
    """Keeps what it is given."""

    def __init__(self, ct_windows: CtWindows | None) -> None:
        super().__init__()
        self.ct_windows, self.given = ct_windows, np.empty(0)

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.given = images[0]
        return super().encode_images(images)


def test_each_model_gets_ct_in_the_windows_that_it_states(tmp_path: Path) -> None:
    ct, hounsfield = draw_ct(tmp_path / "ct.dcm")
    for source in (PictureFile(ct), ArrowPicture([{"image": {"bytes": ct.read_bytes()}}], 0, "image", tmp_path, "", 0)):
        models = [Watching(WINDOWS), Watching(None)]
        embed_with_each(models, [Pair(source, "ct")])
        assert np.abs(models[0].given - by_hand(hounsfield)).max() <= 1
        assert np.array_equal(models[1].given, source.read())


def test_few_pictures_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 5 * 64 * 64 * 3)
    made = pairs(200)
    batches: list[int] = []
    ahead: list[int] = []

    class Counting(ConceptEncoder):
        def encode_images(self, images: object) -> np.ndarray:
            batches.append(len(images))  # type: ignore[arg-type]
            ahead.append(sum(pair.picture.reads for pair in made) - sum(batches))  # type: ignore[attr-defined]
            return super().encode_images(images)  # type: ignore[arg-type]

    embed(Counting(), made)
    assert sum(batches) == 200 and max(batches) == 5
    assert max(ahead) <= 2 * cores() + 1


@pytest.mark.parametrize("kind", ["images", "captions"])
def test_an_embedding_that_is_not_finite_is_an_error(kind: str) -> None:
    class Diverged(ConceptEncoder):
        def encode_images(self, images: object) -> np.ndarray:
            return self._spoil(super().encode_images(images), "images")  # type: ignore[arg-type]

        def encode_texts(self, texts: object) -> np.ndarray:
            return self._spoil(super().encode_texts(texts), "captions")  # type: ignore[arg-type]

        def _spoil(self, vectors: np.ndarray, of: str) -> np.ndarray:
            vectors[2, 5] = np.nan if of == kind else vectors[2, 5]
            return vectors

    count = 1 if kind == "images" else 2  # two pairs have the third caption
    with pytest.raises(InputError, match=rf"not finite\) for {count} of 8 {kind}, the first being of images/2.png"):
        embed(Diverged(), pairs(8))


def test_nothing_to_embed_is_refused() -> None:
    with pytest.raises(InputError, match="no pair to measure"):
        embed(ConceptEncoder(), [])
    with pytest.raises(InputError, match="None of the 2 images can be read"):
        embed(ConceptEncoder(), [Pair(Broken(str(i)), "a") for i in range(2)])


def test_files_and_a_real_model(tmp_path: Path) -> None:
    """The way of a user's data: files on disk, one of them cut off, through a CLIP checkpoint."""
    encoder = load_encoder(clip(tmp_path / "clip"))
    files = [draw(tmp_path / f"{i}.png", word) for i, word in enumerate(("ct", "mri", "normal"))]
    files[1].write_bytes(files[1].read_bytes()[:50])
    made = [Pair(PictureFile(path), caption) for path, caption in zip(files, ("a ct", "an mri", "normal"), strict=True)]
    found = embed(encoder, made)
    assert [entry.name for entry in found.unreadable] == [str(files[1])]
    assert found.images.shape == found.texts.shape == (2, encoder.dim)
    assert np.allclose(np.linalg.norm(found.images, axis=1), 1, atol=1e-5)
    alone = encoder.encode_images([PictureFile(files[2]).read()])
    assert np.allclose(found.images[1], alone[0], atol=1e-5)
