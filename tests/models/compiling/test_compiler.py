"""Every model is compiled once: equal to torch, without torch at a query, and never trusted where it does not fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roco_search.models import load_encoder
from roco_search.models.cache import private_folder
from roco_search.models.catalogue.registry import find
from roco_search.models.compiling.compiler import FAITHFUL, PROBES, prepare, small_image
from roco_search.models.compiling.towers import Compiled, folder_of
from roco_search.models.onnx_encoder import OnnxEncoder
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.system.seals import Seal
from tests.models.checkpoints import FAMILIES

TEXTS = ["ct", "chest x-ray of the brain, pleural effusion", "", "axial " * 100]


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, with a copy of the embedded model as all tests have it compiled; its folder there."""
    fingerprint = find("roco-mini").fingerprint
    kept = Compiled.find(fingerprint, "text", "int8")
    assert kept is not None and kept.check()
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    folder = private_folder(folder_of(fingerprint))
    for name in ("text-int8.json", *kept.hashes):
        shutil.copy2(kept.folder / name, folder)
    return folder


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (found * expected).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["clip", "siglip", "vision-text-dual-encoder", "open_clip"])
def test_every_family_equals_torch_and_needs_none_at_a_query(family: str, tmp_path: Path, apart: Path) -> None:
    folder = FAMILIES[family](tmp_path / "model")
    told: list[str] = []
    assert isinstance(load_encoder(folder, "cpu"), TorchEncoder), "nothing is compiled yet"
    assert prepare(find(folder), told.append) and len(told) == 1
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 30), (32, 32), (20, 64))]
    exact, fast, torch = (
        load_encoder(folder, "cpu"),
        load_encoder(folder, "cpu", "fast"),
        TorchEncoder(find(folder), "cpu"),
    )
    assert isinstance(exact, OnnxEncoder) and isinstance(fast, OnnxEncoder)
    np.testing.assert_allclose(exact.encode_texts(TEXTS), torch.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(exact.encode_images(images), torch.encode_images(images), atol=1e-5)
    assert cosines(fast.encode_texts(TEXTS), torch.encode_texts(TEXTS)).min() >= FAITHFUL["int8"]
    alone = np.concatenate([fast.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(fast.encode_texts(TEXTS), alone, atol=2e-3)
    program = (
        "import sys; from roco_search import load_encoder\n"
        f"load_encoder({str(folder)!r}, 'cpu', 'fast').encode_texts(['chest'])\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    told.clear()
    assert prepare(find(folder), told.append) and not told, "once"
    for tower in ("text", "image"):
        bytes_kept = sum(file.stat().st_size for file in apart.rglob(f"{tower}-fp32*"))
        assert bytes_kept < 60_000, "operations and no weights: these are read from the checkpoint"


@pytest.mark.slow
def test_an_image_processor_of_its_own_leaves_images_to_torch(tmp_path: Path, apart: Path) -> None:
    folder = FAMILIES["siglip2"](tmp_path / "model")
    prepare(find(folder))
    torch = TorchEncoder(find(folder), "cpu")
    encoder = load_encoder(folder, "cpu", "fast")
    image = np.full((40, 40, 3), 90, np.uint8)
    np.testing.assert_allclose(encoder.encode_images([image]), torch.encode_images([image]), atol=1e-5)


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    return load_encoder("roco-mini", "cpu").encode_texts(PROBES)


def test_eight_bits_are_faithful_on_the_embedded_model(exact: np.ndarray) -> None:
    assert prepare(find("roco-mini"))
    found = Compiled.find(find("roco-mini").fingerprint, "text", "int8")
    assert found is not None and found.check() and found.cosine >= FAITHFUL["int8"]
    encoder = load_encoder("roco-mini", "cpu", "fast")
    assert cosines(encoder.encode_texts(PROBES), exact).min() >= FAITHFUL["int8"]
    alone = np.concatenate([encoder.encode_texts([text]) for text in PROBES])
    assert cosines(alone, exact).min() >= FAITHFUL["int8"]
    private = [path.stat().st_mode & 0o777 for path in found.folder.iterdir() if path.is_file()]
    assert set(private) == {0o600}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


def of_other_weights(path: Path) -> None:
    manifest = path.parent / "text-int8.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"fingerprint": "0" * 64}))


def without_its_manifest(path: Path) -> None:
    (path.parent / "text-int8.json").unlink()


def of_a_newer_format(path: Path) -> None:
    manifest = path.parent / "text-int8.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))


@pytest.mark.parametrize(
    "harm", [truncate, flip, of_other_weights, without_its_manifest, of_a_newer_format, Path.unlink]
)
def test_what_does_not_fit_is_not_run(harm: object, compiled: Path, exact: np.ndarray) -> None:
    harm(compiled / "text-int8.onnx.data")  # type: ignore[operator]
    found = load_encoder("roco-mini", "cpu", "fast").encode_texts(PROBES)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_a_graph_that_cannot_be_run_falls_back_with_one_line(
    compiled: Path, exact: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    found = Compiled.find(find("roco-mini").fingerprint, "text", "int8")
    assert found is not None and found.folder == compiled
    graph = compiled / "text-int8.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content.replace(b"MatMulNBits", b"NotAnOperat"))
    replace(found, seals={**found.seals, graph.name: Seal.put_on(graph)}).write()
    np.testing.assert_allclose(load_encoder("roco-mini", "cpu", "fast").encode_texts(PROBES), exact, atol=1e-5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "slowly" in caplog.records[0].message


def test_a_flipped_bit_is_found_and_the_tower_made_again(compiled: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = compiled / "text-int8.onnx.data"
    sound = data.read_bytes()
    content = bytearray(sound)
    content[len(content) // 2] ^= 1
    data.write_bytes(bytes(content))
    assert prepare(find("roco-mini")) and data.read_bytes() == sound
    assert [record.message for record in caplog.records] == ["The compiled text tower was damaged; it is made again."]


def test_where_nothing_can_be_kept_everything_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "file" / "cache"))
    assert not prepare(find("roco-mini"))
    assert len(caplog.records) == 1 and "cache" in caplog.records[0].message
    np.testing.assert_allclose(load_encoder("roco-mini", "cpu", "fast").encode_texts(PROBES), exact, atol=1e-5)


def test_changed_weights_are_another_model(tmp_path: Path, apart: Path) -> None:
    folder = Path(shutil.copytree(find("roco-mini").directory, tmp_path / "model"))
    before = find(folder).fingerprint
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(bytes(content))
    after = find(folder).fingerprint
    assert after != before and folder_of(after) != folder_of(before)


def test_a_convolutional_tower_is_not_rounded(apart: Path) -> None:
    with pytest.raises(ValueError, match="nothing to round"):
        small_image(find("roco-mini"))
