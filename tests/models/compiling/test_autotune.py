"""Which engine embeds images: the fastest of those that equal fp32, measured once and kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from roco_search.errors import UnsupportedModel
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import find
from roco_search.models.compiling import autotune
from roco_search.models.compiling.autotune import EQUAL, FAITHFUL, Autotune, Measured, choose_exact, choose_fast
from roco_search.models.compiling.compiler import prepare
from roco_search.models.compiling.engines import ImageTower, Run, forms_of, openvino_module, processor_flags
from roco_search.models.compiling.towers import folder_of
from roco_search.models.encoder import Engine
from roco_search.models.onnx_encoder import MANY, OnnxEncoder
from roco_search.models.torch_encoder import TorchEncoder


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        ({"onnxruntime": (40, 0), "openvino": (130, 2e-7), "torch": (70, 2e-7)}, "openvino"),
        ({"onnxruntime": (40, 0), "openvino": (130, 2e-5), "torch": (70, 2e-7)}, "torch"),
        ({"onnxruntime": (40, 0)}, "onnxruntime"),
        ({}, "onnxruntime"),
    ],
)
def test_the_fastest_engine_that_equals_fp32_is_chosen(measured: dict[str, tuple[float, float]], chosen: str) -> None:
    assert choose_exact({name: Measured(*found, 1) for name, found in measured.items()}) == chosen


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        ({"torch-bf16": (60, 0.999), "onnxruntime-int8": (90, 0.98)}, "torch-bf16"),
        ({"torch-bf16": (60, 0.999), "onnxruntime-int8": (90, 0.996)}, "onnxruntime-int8"),
        ({"torch-bf16": (39, 0.999)}, "fp32"),
        ({"torch-bf16": (200, 0.9949)}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_the_fastest_faithful_form_of_lower_precision_is_chosen(
    measured: dict[str, tuple[float, float]], chosen: str
) -> None:
    assert choose_fast({name: Measured(rate, 1, cosine) for name, (rate, cosine) in measured.items()}, 40) == chosen


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnnxEncoder:
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    made = load_encoder("roco-mini", "cpu", "fast")
    assert isinstance(made, OnnxEncoder)
    return made


@pytest.fixture
def loaded(encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the forms that are loaded, of four: two equal fp32, one does not, one cannot be run."""
    names: list[str] = []
    size = encoder.image_size
    known = np.ones((1, 3, size, size), np.float32)
    np.testing.assert_allclose(np.linalg.norm(encoder.exact(known)), 1, atol=1e-6)

    def form(name: str, run: Run) -> Callable[[], Run]:
        def load() -> Run:
            names.append(name)
            return run

        return load

    def fail(pixels: np.ndarray) -> np.ndarray:
        raise RuntimeError

    forms = {
        "onnxruntime": form("onnxruntime", encoder.exact),
        "openvino": form("openvino", lambda pixels: encoder.exact(pixels) + np.float32(2e-5)),
        "torch": form("torch", fail),
    }
    monkeypatch.setattr(autotune, "forms_of", lambda checkpoint, *, fast: {} if fast else dict(forms))
    return names


def test_engines_are_measured_once_and_what_was_found_is_kept(encoder: OnnxEncoder, loaded: list[str]) -> None:
    for _ in range(2):
        assert Autotune(encoder.checkpoint, encoder.exact).engine() == "onnxruntime"
    assert loaded == ["onnxruntime", "openvino"], "torch is slow to import where OpenVINO is installed"
    record = json.loads((folder_of(encoder.fingerprint) / "image-engines.json").read_text())
    assert record["machine"] == autotune.machine() and record["measured"]["openvino"]["difference"] > EQUAL


@pytest.mark.parametrize(("engine", "reason"), [("openvino", "differently from fp32"), ("torch", "cannot run")])
@pytest.mark.usefixtures("loaded")
def test_an_engine_that_is_wanted_and_not_exact_is_refused(encoder: OnnxEncoder, engine: str, reason: str) -> None:
    tuner = Autotune(encoder.checkpoint, encoder.exact)
    assert tuner.engine("onnxruntime") == "onnxruntime"
    with pytest.raises(UnsupportedModel, match=reason):
        tuner.engine(engine)


@pytest.mark.parametrize("change", [{"machine": {}}, {"format": 2}, {"measured": {"onnxruntime": {"rate": 1}}}, None])
def test_a_record_of_another_machine_or_a_damaged_one_is_made_again(
    encoder: OnnxEncoder, loaded: list[str], change: dict[str, object] | None
) -> None:
    tuner = Autotune(encoder.checkpoint, encoder.exact)
    tuner.engine()
    place = folder_of(encoder.fingerprint) / "image-engines.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | change) if change else "{")
    del loaded[:]
    assert tuner.engine() == "onnxruntime" and loaded == ["onnxruntime", "openvino"]


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [(200, 300), (512, 301), (192, 192)]
    return [random.integers(0, 256, (*shapes[i % 3], 3), np.uint8) for i in range(count)]


@pytest.mark.parametrize("engine", get_args(Engine))
def test_every_engine_gives_the_same_embedding_in_every_batch(encoder: OnnxEncoder, engine: str) -> None:
    if engine == "openvino" and not find_spec("openvino"):
        pytest.skip("OpenVINO is not installed")
    images = pictures(11)
    expected = encoder.encode_images(images)
    given = load_encoder("roco-mini", "cpu", "fast", engine=engine)  # type: ignore[arg-type]
    assert isinstance(given, OnnxEncoder) and given.image_arithmetic == "fp32"
    given.expect_images(MANY)
    for batch in (11, 3, 1):
        found = np.concatenate([given.encode_images(images[i : i + batch]) for i in range(0, 11, batch)])
        np.testing.assert_allclose(found, expected, atol=EQUAL, rtol=0)
    assert given.encode_images([]).shape == (0, 384)


@pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")
def test_openvino_has_inferred_before_threads_share_it(encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first inferences at the same moment wait for each other without end, once in a few hundred times."""
    compiled: Any = openvino_module().CompiledModel
    first: list[int] = []
    create = compiled.create_infer_request

    def watched(model: Any) -> Any:
        first.append(threading.get_ident())
        return create(model)

    monkeypatch.setattr(compiled, "create_infer_request", watched)
    forms_of(encoder.checkpoint, fast=False)["openvino"]()
    assert first == [threading.get_ident()]


@pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")
def test_openvino_runs_a_model_whose_weights_are_elsewhere(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(find(clip_folder))  # once for all tests; a copy, so that what is left behind can be seen
    compiled = folder_of(find(clip_folder).fingerprint)
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))
    others = shutil.ignore_patterns(".*", "linked-*")  # of a test beside this one
    shutil.copytree(compiled, folder_of(find(clip_folder).fingerprint), ignore=others)
    encoder = load_encoder(clip_folder, "cpu", "fast", engine="openvino")
    assert isinstance(encoder, OnnxEncoder)
    expected = TorchEncoder(find(clip_folder), "cpu").encode_images(pictures(5))
    np.testing.assert_allclose(encoder.encode_images(pictures(5)), expected, atol=EQUAL, rtol=0)
    assert encoder._opening is not None and encoder._opening.result() is not None
    assert not list(tmp_path.glob("cache/compiled/*/linked-*"))


FORMS = ["openvino-bf16", "torch-bf16"]


@pytest.mark.skipif("avx512_bf16" not in processor_flags(), reason="this processor has no bf16")
@pytest.mark.parametrize("form", FORMS)
def test_bf16_is_faithful_and_only_used_where_it_is_asked_for(encoder: OnnxEncoder, form: str) -> None:
    if form not in forms_of(encoder.checkpoint, fast=True):
        pytest.skip("OpenVINO is not installed")
    random = np.random.default_rng(0)
    waves = [np.clip(random.normal(100, 60, (224, 224, 1)).cumsum(0) % 255, 0, 255) for _ in range(6)]
    images = [wave.astype(np.uint8).repeat(3, axis=2) for wave in waves]
    exact = encoder.encode_images(images)
    asked = load_encoder("roco-mini", "cpu", "fast", images=form)
    assert isinstance(asked, OnnxEncoder) and asked.image_arithmetic == form
    found = asked.encode_images(images)
    assert (found * exact).sum(axis=1).min() >= 0.999 > FAITHFUL
    assert np.abs(found - exact).max() > EQUAL, "it was computed in bf16"


def test_an_arithmetic_that_this_machine_lacks_is_refused() -> None:
    encoder = load_encoder("roco-mini", "cpu", "fast", images="cuda-bf16")
    with pytest.raises(UnsupportedModel, match=r"cuda-bf16, which cannot be run here .* --reembed --precision exact"):
        encoder.encode_images(pictures(1))


def test_a_tower_returns_embeddings_in_the_order_of_the_images() -> None:
    tower = ImageTower(lambda pixels: pixels[:, None])
    assert tower(list(range(30)), np.array).ravel().tolist() == list(range(30))  # type: ignore[arg-type]


LOADED = """
import sys
from roco_search.models import load_encoder
from roco_search.models.compiling.engines import forms_of
forms_of(load_encoder("roco-mini", "cpu", "fast").checkpoint, fast=False)["{}"]()
print("torch" in sys.modules, "transformers" in sys.modules, bool(sys.modules.get("openvino_telemetry")))
"""


@pytest.mark.parametrize(("engine", "imported"), [("torch", "True False False"), ("openvino", "False False False")])
def test_the_embedded_models_engines_import_little(engine: str, imported: str) -> None:
    if not find_spec(engine):
        pytest.skip(f"{engine} is not installed")
    ran = subprocess.run([sys.executable, "-c", LOADED.format(engine)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == imported
