"""A model's folder is checked before it is trusted, and its fingerprint says which model it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from roco_search.errors import ModelNotFound, UnsupportedModel
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import find
from tests.models.checkpoints import clip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def garble_header(folder: Path) -> None:
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[8:12] = b"\xff\xfe{{"
    weights.write_bytes(raw)


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def drop_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("vision_model.post_layernorm.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def drop_the_projection(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("text_projection.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "bytes long"),
        (garble_header, "damaged header"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "not a whole safetensors file"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        (pickle_only, "a pickle that can run code"),
        (drop_a_weight, "lacks 1 of the weights"),
        (drop_the_projection, "text_projection.weight"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "is damaged"),
        (lambda f: edit(f / "config.json", model_type="llama"), "'llama' model"),
        (lambda f: edit(f / "config.json", auto_map={"AutoModel": "x.Y"}), "never run"),
        (lambda f: [p.unlink() for p in f.glob("*processor*")], "preprocessor_config.json"),
        (lambda f: edit(f / "preprocessor_config.json", image_std=[0, 0, 0]), r"copy its preprocessor_config\.json"),
        (
            lambda f: [p.unlink() for p in f.iterdir() if p.name.startswith(("token", "vocab", "merges"))],
            "tokenizer",
        ),
    ],
)
def test_a_damaged_or_unsafe_model_is_refused_in_words(
    folder: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(folder)
    with pytest.raises(UnsupportedModel, match=says):
        encoder = load_encoder(folder, device="cpu")
        encoder.encode_texts(["chest"])
        encoder.encode_images([torch.zeros(9, 9, 3, dtype=torch.uint8).numpy()])


def test_the_fingerprint_is_of_what_changes_embeddings(original: Path, folder: Path) -> None:
    def fingerprint() -> str:
        return find(folder).fingerprint

    same = find(original).fingerprint
    assert fingerprint() == same, "where the folder lies does not matter"
    edit(folder / "config.json", transformers_version="9.9.9", _name_or_path="/somewhere/else")
    assert fingerprint() == same
    processor = next(folder.glob("*processor_config.json"))
    before = processor.read_text()
    edit(processor, resample=2)
    assert fingerprint() != same
    processor.write_text(before)
    assert fingerprint() == same
    weights = load_file(folder / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert fingerprint() != same


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_logit_scale_is_read_in_whatever_type_it_was_saved(folder: Path, dtype: torch.dtype) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["logit_scale"] = torch.tensor(3.0, dtype=dtype)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert find(folder).logit_scale == pytest.approx(torch.tensor(3.0).exp().item())


def test_a_model_that_is_not_here_is_said_so_with_what_is() -> None:
    with pytest.raises(ModelNotFound, match="roco-mini"):
        load_encoder("no-such-model")
    with pytest.raises(ModelNotFound, match="roco model pull clip-roco"):
        load_encoder("clip-roco")


def test_a_model_in_the_hub_cache_is_found_by_its_names(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--spicy03--CLIP-ROCO-v1"
    shutil.copytree(original, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find("spicy03/CLIP-ROCO-v1").fingerprint == find(original).fingerprint
    assert find("clip-roco").name == "clip-roco"
