"""``pull`` and ``import`` of what was published for open_clip: converted whole, or refused and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from roco_search.errors import InputError, ModelNotFound, RocoError, UnsupportedModel
from roco_search.models import load_encoder
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.archive import export_model
from roco_search.models.catalogue.local import import_any
from roco_search.models.catalogue.pull import pull
from roco_search.models.open_clip import layout
from tests.hub.hub_server import Hub, Repository
from tests.models.open_clip.published import golden, publish, tokenizer
from tests.models.open_clip.seeds import TEXTS, TOWER

BIOMEDCLIP = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
CASE = "mean-pooler"
GELU_VISION = {"image_size": 224, "patch_size": 32, "width": 128, "layers": 2}
GELU_TEXT = {"context_length": 20, "vocab_size": 814, "width": 128, "heads": 2, "layers": 2}


def nothing_is_left(models: Path) -> bool:
    return installed.installed_names() == [] and not [
        p for p in models.rglob("*") if p.suffix != ".lock" and p.is_file()
    ]


def test_biomedclip_is_pulled_with_the_tokenizer_of_its_text_tower(hub: Hub, models: Path, tmp_path: Path) -> None:
    hub.repositories[BIOMEDCLIP] = Repository.of_folder(publish(tmp_path / "published", CASE, pickled=True))
    hub.repositories[BIOMEDCLIP].files |= {"evil.py": b"import os", "config.json": b"{}"}
    hub.repositories[TOWER] = Repository.of_folder(tokenizer(tmp_path / "tower", CASE))
    hub.repositories[TOWER].files["pytorch_model.bin"] = b"x" * 20_000
    pulled = pull("biomedclip")
    assert (pulled.name, pulled.repository, pulled.licence) == ("biomedclip", BIOMEDCLIP, "mit")
    assert set(hub.fetched()) == {
        "open_clip_config.json", "open_clip_pytorch_model.bin", "README.md", "config.json", "vocab.txt",
        "tokenizer_config.json",
    }  # fmt: skip
    assert sorted(path.name for path in pulled.directory.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "roco-model.json",
        "tokenizer_config.json", "vocab.txt",
    ]  # fmt: skip
    card = (pulled.directory / "README.md").read_text()
    assert "As it was published" in card
    assert f"tokenizer is that of {TOWER} at commit {hub.repositories[TOWER].commit}" in card
    assert not list((models / ".staging").glob("*@*")), "the pickle is not kept"
    hub.asked.clear()
    assert pull(BIOMEDCLIP).already
    encoder = load_encoder("biomedclip", "cpu", "fp32")
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), golden()["cases"][CASE]["texts"], atol=1e-4)
    export_model("biomedclip", tmp_path / "model.zip")
    carried = import_any(tmp_path / "model.zip", "carried")
    assert carried.fingerprint == pulled.fingerprint
    assert hub.asked == [], "the network is for the pull alone"


def test_an_architecture_that_is_unknown_is_refused_before_its_weights_come(
    hub: Hub, models: Path, tmp_path: Path
) -> None:
    folder = publish(tmp_path / "published", CASE)
    config = json.loads((folder / "open_clip_config.json").read_text())
    hub.repositories["org/other"] = Repository.of_folder(folder)
    for vision, says in (
        ({"timm_model_name": "convnext_base", "image_size": 224}, "convnext_base"),
        ({"layers": [3, 4, 6, 3], "width": 64}, "a ResNet"),
        ({**config["model_cfg"]["vision_cfg"], "attentional_pool": True}, "attentional_pool True"),
        ({"timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map"}, "vit_base_patch16_siglip_224"),
    ):
        changed = {"model_cfg": {**config["model_cfg"], "vision_cfg": vision}}
        hub.repositories["org/other"].files["open_clip_config.json"] = json.dumps(changed).encode()
        hub.asked.clear()
        with pytest.raises(UnsupportedModel, match=f"org/other cannot be loaded: it has .*{says}"):
            pull("org/other")
        assert "open_clip_model.safetensors" not in hub.fetched()
        assert nothing_is_left(models)


@pytest.mark.parametrize(("part", "says"), [
    ({"multimodal_cfg": {"layers": 12}}, "a decoder with CoCa"),
    ({"text_cfg": {"embed_cls": True}}, "a text tower with embed_cls True"),
    ({"text_cfg": {"no_causal_mask": True, "pool_type": "last"}}, "a text tower with no_causal_mask True"),
])  # fmt: skip
def test_the_text_towers_of_coca_and_siglip_are_refused_by_name(part: dict[str, Any], says: str) -> None:
    towers = {"embed_dim": 8, "vision_cfg": GELU_VISION, "text_cfg": GELU_TEXT}
    with pytest.raises(UnsupportedModel, match=says):
        layout.check_known({"model_cfg": {**towers, **part}})


def _changed(key: str, value: Any) -> Callable[[Path], None]:
    """Return a damage that sets a key of one of the configurations, such as ``vision_cfg.width``."""

    def damage(folder: Path) -> None:
        file = folder / "open_clip_config.json"
        config = json.loads(file.read_text())
        *path, last = key.split(".")
        inner = config["model_cfg"]
        for step in path:
            inner = inner[step]
        inner[last] = value
        file.write_text(json.dumps(config))

    return damage


def _prepared(**options: Any) -> Callable[[Path], None]:
    """Return a damage that says how images are prepared."""

    def damage(folder: Path) -> None:
        file = folder / "open_clip_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "preprocess_cfg": options}))

    return damage


def _linked(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


def _weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "open_clip_model.safetensors"
        state = load_file(file)
        change(state)
        save_file(state, file)

    return damage


def _pickle_in_disguise(folder: Path) -> None:
    torch.save(load_file(folder / "open_clip_model.safetensors"), folder / "x.bin")
    (folder / "x.bin").replace(folder / "open_clip_model.safetensors")


def _header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return a damage that changes the entry of one tensor in the header, and nothing of the data."""

    def damage(folder: Path) -> None:
        file = folder / "open_clip_model.safetensors"
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        change(header["visual.ln_post.bias"])
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a width that lies": (_changed("vision_cfg.width", 96), r"class_embedding is of the shape 64, and .* says 96"),
    "layers that lie": (_changed("vision_cfg.layers", 3), r"no visual.transformer.resblocks.2.attn"),
    "fewer layers": (_changed("vision_cfg.layers", 1), r"weights that belong to no tower"),
    "endless layers": (_changed("vision_cfg.layers", 10**9), r"layers 1000000000"),
    "a ratio that is no number": (_changed("vision_cfg.mlp_ratio", float("nan")), r"mlp_ratio nan"),
    "an endless ratio": (_changed("vision_cfg.mlp_ratio", 1e308), r"mlp_ratio 1e\+308"),
    "a norm of nothing": (_changed("vision_cfg.norm_kwargs", {"eps": float("nan")}), r"norm_kwargs"),
    "a switch of a word": (_changed("quick_gelu", "no"), r"quick_gelu 'no'"),
    "a mean beyond numbers": (_prepared(mean=10**400), r"mean or std"),
    "a deviation of 0": (_prepared(std=[0, 0, 0]), r"mean or std"),
    "a list for a word": (_prepared(interpolation=["bicubic"]), r"bicubic"),
    "two tensors in one place": (_header(lambda t: t.update(data_offsets=[0, 256])), "not what its header says"),
    "a card from elsewhere": (_linked("vocab.txt", "/etc/hostname"), r"its vocab.txt links to a file outside"),
    "a width of a word": (_changed("vision_cfg.width", "64"), r"width '64'"),
    "a size that lies": (_changed("vision_cfg.image_size", 96), r"positional_embedding is of the shape"),
    "another projection": (_changed("embed_dim", 17), r"visual.proj is of the shape 64 × 16, and .* 64 × 17"),
    "an unknown pooler": (_changed("text_cfg.hf_pooler_type", "max_pooler"), r"hf_pooler_type 'max_pooler'"),
    "an unknown switch": (_changed("vision_cfg.qk_norm", True), r"qk_norm True"),
    "a missing tensor": (_weights(lambda s: s.pop("visual.ln_post.bias")), r"no visual.ln_post.bias among its weights"),
    "a tensor too many": (_weights(lambda s: s.update({"visual.adapter": torch.ones(2)})), r"such as visual.adapter"),
    "integers": (
        _weights(lambda s: s.update({"visual.ln_post.bias": s["visual.ln_post.bias"].int()})),
        r"visual.ln_post.bias is of the type I32",
    ),
    "a shape that its bytes do not fill": (_header(lambda t: t.update(shape=[10**9])), "damaged header"),
    "offsets before the data": (_header(lambda t: t.update(data_offsets=[-256, 0])), "damaged header"),
    "a pickle in disguise": (_pickle_in_disguise, r"safetensors is not a whole safetensors file|damaged header"),
    "a config that is none": (lambda f: (f / "open_clip_config.json").write_text("[]"), r"_config.json is damaged"),
    "a stretch": (lambda f: (f / "open_clip_config.json").write_text(
        (f / "open_clip_config.json").read_text()[:-1] + ', "preprocess_cfg": {"resize_mode": "zoom"}}'), r"'zoom'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_damaged_or_lies_leaves_nothing(kind: str, models: Path, tmp_path: Path) -> None:
    damage, says = DAMAGES[kind]
    folder = publish(tmp_path / "published", CASE)
    damage(folder)
    with pytest.raises(UnsupportedModel, match=says) as refusal:
        import_any(folder, "mine", tokenizer=tokenizer(tmp_path / "tower", CASE))
    assert str(refusal.value).rstrip(".").count(". ") == 0, "one sentence"
    assert str(models) not in str(refusal.value)
    assert nothing_is_left(models)


def test_a_state_dict_takes_the_tokenizer_of_a_model_that_is_named(models: Path, tmp_path: Path) -> None:
    pickled = publish(tmp_path / "published", "openai-state-dict")
    file = changed_to(pickled.with_suffix(".safetensors"), torch.load(pickled, weights_only=True))
    with pytest.raises(InputError, match=r"best comes without a tokenizer.* openai/clip-vit-base-patch32"):
        import_any(file)
    with pytest.raises(ModelNotFound):
        import_any(file, tokenizer="no-such-model")
    assert nothing_is_left(models)
    lent = tokenizer(tmp_path / "lent", "openai-state-dict")
    first = import_any(file, "chexzero", tokenizer=lent)
    assert registry.find("chexzero").family == "clip", "transformers has the class"
    assert import_any(file, "chexzero", tokenizer=lent).already
    other = load_file(file)
    other["logit_scale"] += 1
    with pytest.raises(InputError, match="Another model is called chexzero"):
        import_any(changed_to(file, other), "chexzero", tokenizer=lent)
    assert import_any(file, "chexzero", tokenizer="chexzero", force=True).fingerprint != first.fingerprint
    for name in ("../x", "roco-mini"):
        with pytest.raises(InputError):
            import_any(file, name, tokenizer=lent)
    # How its images were prepared, a state dict does not say.
    (file.parent / "open_clip_config.json").write_text(json.dumps({"preprocess_cfg": {"mean": 0.4, "std": 0.33}}))
    prepared = json.loads((import_any(file, "own", tokenizer=lent).directory / "preprocessor_config.json").read_text())
    assert (prepared["image_mean"], prepared["image_std"]) == ([0.4] * 3, [0.33] * 3)


def test_weights_that_are_published_without_a_configuration_take_the_catalogues(
    hub: Hub, models: Path, tmp_path: Path
) -> None:
    """MedPMC-CLIP and BMC-CLIP: a ViT of open_clip, whose GELU is exact, and a training checkpoint of one."""
    state = torch.load(publish(tmp_path / "published", "openai-state-dict"), weights_only=True)
    described = {"model_cfg": {"embed_dim": 24, "vision_cfg": GELU_VISION, "text_cfg": GELU_TEXT}}
    own = tmp_path / "own"
    own.mkdir()
    (own / "open_clip_config.json").write_text(json.dumps(described))
    save_file(state, own / "open_clip_model.safetensors")
    lent = tokenizer(tmp_path / "lent", "openai-state-dict")
    hub.repositories[layout.CLIP_TOKENIZER] = Repository.of_folder(lent)
    expected = import_any(own, "expected", tokenizer=lent)
    assert json.loads((expected.directory / "config.json").read_text())["vision_config"]["hidden_act"] == "gelu"
    medpmc, bmc = (registry.entries()[name] for name in ("medpmc", "bmc-clip"))
    checkpoint = {"epoch": 7, "name": "run", "state_dict": {f"module.{name}": t for name, t in state.items()},
                  "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4}]}}  # fmt: skip
    torch.save(checkpoint, tmp_path / "bmc.pt")
    for entry, content in ((medpmc, (own / "open_clip_model.safetensors")), (bmc, tmp_path / "bmc.pt")):
        assert entry.repository and entry.weights
        files = {entry.weights: content.read_bytes(), "README.md": b"# As published", "other.pt": b"x"}
        hub.repositories[entry.repository] = Repository(files)
        hub.asked.clear()
        assert pull(entry.name).fingerprint == expected.fingerprint
        assert "other.pt" not in hub.fetched()


def changed_to(file: Path, state: dict[str, torch.Tensor]) -> Path:
    save_file(state, file)
    return file


def test_no_file_of_this_machine_is_taken_along_by_a_link(models: Path, tmp_path: Path) -> None:
    folder = publish(tmp_path / "published", CASE)
    (tmp_path / "secret").write_text("private words")
    (folder / "README.md").unlink()
    for name in ("README.md", "LICENSE"):
        (folder / name).symlink_to(tmp_path / "secret")
    made = import_any(folder, "mine", tokenizer=tokenizer(tmp_path / "tower", CASE)).directory
    assert not [file for file in made.iterdir() if b"private words" in file.read_bytes()]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_file_is_refused(suffix: str, models: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(InputError, match="neither a file nor a folder"):
            import_any(tmp_path / f"{name}{suffix}", "mine")
    assert nothing_is_left(models)


def test_a_folder_must_say_which_weights_it_means(models: Path, tmp_path: Path) -> None:
    file = publish(tmp_path / "published", "openai-state-dict")
    shutil.copy(file, file.with_name("second.pt"))
    with pytest.raises(InputError, match="has 2 files of weights"):
        import_any(file.parent)
    for weights in file.parent.iterdir():
        weights.unlink()
    with pytest.raises(InputError, match="has no weights"):
        import_any(file.parent)
    with pytest.raises(RocoError, match="does not exist"):
        import_any(tmp_path / "nothing.pt")
