"""The embedded model without torch: the same embeddings, and nothing heavy imported for them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from roco_search.errors import InputError
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import EMBEDDED, find
from roco_search.models.compiling.engines import ImageTower
from roco_search.models.encoder import texts_are_done
from roco_search.models.onnx_encoder import OnnxEncoder, encode_texts_once
from roco_search.models.torch_encoder import TorchEncoder
from tests.concepts import ConceptEncoder

TEXTS = ["ct", "chest X-ray with a small pleural effusion on the left", "brain MRI", "", "axial " * 100]


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((224, 224), (90, 300), (512, 301))]


@pytest.fixture(scope="module")
def torch_encoder() -> TorchEncoder:
    return TorchEncoder(find("roco-mini"), "cpu")


def test_it_is_what_loads_on_a_processor() -> None:
    assert isinstance(load_encoder("roco-mini", device="cpu"), OnnxEncoder)
    assert isinstance(load_encoder("roco-mini", device="cpu", precision="bf16"), TorchEncoder)


def test_both_towers_equal_torch(torch_encoder: TorchEncoder, images: list[np.ndarray]) -> None:
    encoder = load_encoder("roco-mini", device="cpu")
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), torch_encoder.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(images), torch_encoder.encode_images(images), atol=1e-5)
    assert encoder.encode_images(images * 7).shape == (21, 384)
    assert encoder.encode_texts([]).shape == encoder.encode_images([]).shape == (0, 384)


def test_a_text_alone_or_among_longer_ones_is_the_same() -> None:
    encoder = load_encoder("roco-mini", device="cpu")
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), alone, atol=1e-5)


def test_a_text_needs_neither_torch_nor_the_image_tower() -> None:
    program = (
        "import sys; from roco_search import load_encoder\n"
        "encoder = load_encoder('roco-mini', device='cpu'); encoder.encode_texts(['chest'])\n"
        "assert not {'torch', 'transformers', 'pydicom', 'PIL.Image'} & set(sys.modules), 'heavy'\n"
        "assert '_image' not in vars(encoder)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_serves_one_query_frees_its_text_tower_and_opens_it_again_for_another_text() -> None:
    once, kept = (load_encoder("roco-mini", "cpu", "fast", once=once) for once in (True, False))
    for encoder in (once, kept):
        before = encoder.encode_texts(["chest"])
        texts_are_done(encoder)
        assert ("_text" in vars(encoder)) is (encoder is kept)
        np.testing.assert_array_equal(encoder.encode_texts(["chest"]), before)


def test_the_graphs_hold_no_weights_and_no_place() -> None:
    for tower in ("text", "image"):
        graph = onnx.load(EMBEDDED / f"{tower}.onnx", load_external_data=False)
        inline = sum(i.ByteSize() for i in graph.graph.initializer if i.data_location != onnx.TensorProto.EXTERNAL)
        assert inline < 20_000
        raw = (EMBEDDED / f"{tower}.onnx").read_bytes()
        assert b".py" not in raw
        assert len(raw) < 500_000


def test_a_graph_that_does_not_run_leaves_the_work_to_torch(
    tmp_path: Path, torch_encoder: TorchEncoder, images: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(EMBEDDED, tmp_path / "model"))
    for tower in ("text", "image"):
        graph = folder / f"{tower}.onnx"
        graph.write_bytes(graph.read_bytes()[:1000])
    encoder = load_encoder(folder, device="cpu")
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), torch_encoder.encode_texts(TEXTS), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_images(images), torch_encoder.encode_images(images), atol=1e-6)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"], "one line a tower"


# Embeddings of fixed texts: computed once per model and arithmetic, then read; never needed to get an answer.

FIXED = ["chest X-ray", "CT of the abdomen"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    embed = OnnxEncoder.encode_texts

    def counting(self: OnnxEncoder, texts: Sequence[str]) -> np.ndarray:
        calls.append(len(texts))
        return embed(self, texts)

    monkeypatch.setattr(OnnxEncoder, "encode_texts", counting)
    return calls


def remembered(cache: Path) -> list[Path]:
    return sorted(cache.glob("compiled/*/texts-*.npy"))


@pytest.fixture
def forgotten(cache: Path) -> None:
    for path in remembered(cache):
        path.unlink()


@pytest.mark.usefixtures("forgotten")
def test_texts_are_embedded_once(counted: list[int], cache: Path) -> None:
    first = encode_texts_once(load_encoder("roco-mini"), FIXED)
    again = encode_texts_once(load_encoder("roco-mini"), FIXED)
    assert counted == [2] and again.dtype == np.float32
    assert np.array_equal(first, again) and np.array_equal(first, load_encoder("roco-mini").encode_texts(FIXED))
    assert all(path.stat().st_mode & 0o077 == 0 for path in remembered(cache))


@pytest.mark.usefixtures("forgotten")
def test_other_texts_and_another_arithmetic_are_other_embeddings(counted: list[int], cache: Path) -> None:
    exact, fast = load_encoder("roco-mini"), load_encoder("roco-mini", precision="fast")
    assert not np.array_equal(encode_texts_once(exact, FIXED), encode_texts_once(fast, FIXED))
    encode_texts_once(exact, FIXED[::-1])
    assert counted == [2, 2, 2] and len(remembered(cache)) == 3


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array"])
def test_a_damaged_file_is_made_again(counted: list[int], cache: Path, damage: bytes) -> None:
    first = encode_texts_once(load_encoder("roco-mini"), FIXED)
    (path,) = remembered(cache)
    path.write_bytes(damage)
    assert np.array_equal(encode_texts_once(load_encoder("roco-mini"), FIXED), first)
    assert counted == [2, 2] and np.array_equal(np.load(path), first)


@pytest.mark.usefixtures("forgotten")
def test_an_encoder_whose_weights_may_change_is_asked_each_time(cache: Path) -> None:
    encoder = ConceptEncoder()
    encode_texts_once(encoder, FIXED)
    encode_texts_once(encoder, FIXED)
    assert encoder.texts == FIXED * 2 and not remembered(cache)


def test_what_an_engine_makes_no_number_of_is_embedded_in_fp32(images: list[np.ndarray]) -> None:
    encoder = load_encoder("roco-mini", device="cpu")
    assert isinstance(encoder, OnnxEncoder)
    expected = encoder.encode_images(images)
    broken = load_encoder("roco-mini", device="cpu")
    assert isinstance(broken, OnnxEncoder)

    def run(pixels: np.ndarray) -> np.ndarray:
        found = broken.exact(pixels)
        return np.where(np.arange(len(found))[:, None] % 2 == 0, np.nan, found)

    broken._opening = Future()
    broken._opening.set_result(ImageTower(run))
    np.testing.assert_allclose(broken.encode_images(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
        "scan.png",
        None,
    ],
)
def test_what_is_no_image_is_refused_and_not_embedded(image: Any, torch_encoder: TorchEncoder) -> None:
    for encoder in (load_encoder("roco-mini", device="cpu"), torch_encoder):
        with pytest.raises(InputError, match=r"uint8 arrays \(height, width, 3\)"):
            encoder.encode_images([image])
        with pytest.raises(InputError, match="give a list"):
            encoder.encode_images(np.zeros((64, 64, 3), np.uint8))  # type: ignore[arg-type]


def test_pil_images_are_taken_and_a_bare_text_is_not(images: list[np.ndarray], torch_encoder: TorchEncoder) -> None:
    for encoder in (load_encoder("roco-mini", device="cpu"), torch_encoder):
        pictures: Any = [Image.fromarray(image) for image in images]
        np.testing.assert_array_equal(encoder.encode_images(pictures), encoder.encode_images(images))
        for texts in ("chest", [b"chest"], [None]):
            with pytest.raises(InputError, match="list of texts"):
                encoder.encode_texts(texts)  # type: ignore[arg-type]
