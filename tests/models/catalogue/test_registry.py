"""Names of models: what each means on this disk, which one new libraries take, and what is said of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from roco_search.errors import InputError, ModelNotFound, UnsupportedModel
from roco_search.models import load_encoder
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.archive import export_model, import_model
from roco_search.models.catalogue.overview import describe, list_models
from roco_search.models.catalogue.pull import pull
from roco_search.models.catalogue.removal import remove_model
from roco_search.models.checkpoint import PREPROCESSOR_FILES, TOKENIZER_FILES
from tests.models.checkpoints import clip


@pytest.fixture
def small(models: Path, clip_folder: Path, tmp_path: Path) -> str:
    """The small CLIP among the models of this disk, by the name ``small``."""
    import_model(export_model(clip_folder, tmp_path / "small.zip").file, "small")
    return "small"


def cached(models: Path, clip_folder: Path, repository: str) -> None:
    """Put the small CLIP into the Hugging Face cache of this test, as the hub's library would: by links."""
    folder = models.parent / "hub-cache" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    shutil.copytree(clip_folder, folder / "blobs")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    for blob in (folder / "blobs").iterdir():
        (folder / "snapshots" / "abc" / blob.name).symlink_to(blob)


def test_the_catalogue_says_what_is_known_and_whose_word_it_is(models: Path) -> None:
    listed = {model.name: model for model in list_models()}
    assert next(iter(listed)) == "roco-mini"
    assert {"clip-roco", "pubmedclip", "medsiglip", "clip"} <= set(listed)
    mini = listed["roco-mini"]
    assert (mini.on_disk, mini.default, mini.dim, mini.word) == ("package", True, 384, "measured here")
    for model in listed.values():
        assert model.good_at
        if model.name != "roco-mini":
            assert (model.on_disk, model.word, model.default) == (None, "publisher", False)
            assert installed.is_name(model.repository or "") or registry.entries()[model.name].obtain
    assert [name for name, model in listed.items() if model.gated] == ["medsiglip"]


def test_the_names_of_the_catalogue_are_names(models: Path) -> None:
    repositories = [entry.repository for entry in registry.entries().values() if entry.repository]
    assert len(set(repositories)) == len(repositories)
    assert all(installed.is_name(name) for name in (*registry.entries(), *repositories))
    assert not set(registry.entries()) & set(registry.refused())


@pytest.mark.parametrize("name", ["", ".", "..", ".staging", "../up", "a/b/c", "a--b", "/abs", "a/", "-x", "a b", "é"])
def test_what_cannot_be_a_name(name: str, models: Path) -> None:
    assert not installed.is_name(name)
    assert installed.installed(name) is None


def test_every_file_that_the_fingerprint_covers_belongs_to_a_model() -> None:
    assert all(map(installed.belongs_to_a_model, (*PREPROCESSOR_FILES, *TOKENIZER_FILES, "config.json", "README.md")))
    foreign = (
        "pytorch_model.bin",
        "model.pt",
        "x.py",
        "../config.json",
        "a/config.json",
        "README.md.exe",
        "model.onnx",
    )
    assert not any(map(installed.belongs_to_a_model, foreign))


def test_an_imported_model_is_found_listed_and_described(small: str, clip_folder: Path) -> None:
    listed = next(model for model in list_models() if model.name == small)
    assert (listed.on_disk, listed.dim, listed.image_size, listed.word) == ("models", 16, 32, "its files")
    facts = describe(small)
    assert (facts.family, facts.dim, facts.image_size, facts.licence) == ("clip", 16, 32, "cc-by-4.0")
    from transformers import CLIPModel

    assert facts.parameters == sum(weight.numel() for weight in CLIPModel.from_pretrained(clip_folder).parameters())
    assert facts.precision == "F32"
    assert facts.fingerprint == registry.find(clip_folder).fingerprint == describe(clip_folder).fingerprint
    assert describe(clip_folder).on_disk == "folder"
    assert facts.card
    assert facts.card.read_bytes() == (clip_folder / "README.md").read_bytes()


def test_a_name_of_the_catalogue_is_never_a_folder(
    models: Path, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(clip_folder, tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound, match=r"roco model pull clip' .* write \./clip"):
        registry.find("clip")
    assert registry.find("./clip").directory == tmp_path / "clip"


def test_a_pulled_model_goes_before_the_hub_cache_and_a_folder(
    small: str, models: Path, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "small", seed=7)
    assert registry.find("small").directory == models / "small"
    cached(models, clip_folder, "spicy03/CLIP-ROCO-v1")
    assert registry.find("clip-roco").directory.parent.name == "snapshots"
    import_model(export_model(clip_folder, tmp_path / "x.zip").file, "spicy03/CLIP-ROCO-v1")
    assert registry.find("clip-roco").directory == models / "clip-roco"


def test_models_of_the_hub_cache_are_listed_but_not_removed(models: Path, clip_folder: Path, tmp_path: Path) -> None:
    cached(models, clip_folder, "openai/clip-vit-base-patch32")
    cached(models, clip_folder, "someone/radiology-clip")
    cached(models, clip_folder, "someone/llm")
    (models.parent / "hub-cache/models--someone--llm/blobs/config.json").write_text('{"model_type": "llama"}')
    where = {model.name: model.on_disk for model in list_models() if model.on_disk}
    assert where == {"roco-mini": "package", "clip": "hub cache", "someone/radiology-clip": "hub cache"}
    assert describe("clip").revision == "abc"
    for name in ("clip", "someone/radiology-clip"):
        with pytest.raises(InputError, match="other programs share"):
            remove_model(name, force=True)
        assert registry.find(name)
    exported = export_model("someone/radiology-clip", tmp_path / "carried.zip")
    imported = import_model(exported.file)
    assert imported.name == "someone/radiology-clip"
    manifest = installed.read_manifest(imported.directory)
    assert manifest
    assert (manifest.repository, manifest.revision) == ("someone/radiology-clip", "abc")
    assert registry.find("someone/radiology-clip").directory == models / "someone--radiology-clip"


def test_what_is_staged_is_no_model(models: Path, clip_folder: Path) -> None:
    with installed.staging("small", "0" * 40) as staged:
        shutil.copytree(clip_folder, staged, dirs_exist_ok=True)
        assert installed.installed_names() == []
        for name in (".staging", f".staging/{staged.name}", staged.name):
            with pytest.raises(ModelNotFound):
                registry.find(name)
    freed = remove_model("small").bytes
    assert freed == installed.size_of(clip_folder), "what an unfinished pull left can be removed"
    assert not staged.exists()


def test_the_default_is_what_was_set_and_the_environment_goes_before(
    small: str, models: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (registry.default(), load_encoder(device="cpu").name) == ("roco-mini", "roco-mini")
    assert registry.use(small) == registry.default() == small
    assert load_encoder(device="cpu").dim == 16
    assert [model.name for model in list_models() if model.default] == [small]
    monkeypatch.setenv("ROCO_MODEL", "roco-mini")
    assert registry.default() == "roco-mini"
    monkeypatch.delenv("ROCO_MODEL")
    assert registry.use(clip_folder) == str(clip_folder)
    assert load_encoder(device="cpu").name == str(clip_folder)
    with pytest.raises(ModelNotFound):
        registry.use("clip-roco")
    assert registry.default() == str(clip_folder), "a model that is not here changes nothing"
    registry.use("roco-mini")
    assert json.loads((models.parent / "config.json").read_text()) == {}


@pytest.mark.parametrize("damage", ["{", "[]", '{"model": 3}', "\xff"])
def test_damaged_settings_name_their_file(models: Path, damage: str) -> None:
    file = models.parent / "config.json"
    file.write_text(damage, "latin-1")
    with pytest.raises(InputError, match=r"config\.json"):
        registry.default()


def test_remove_frees_what_it_says_and_refuses_what_is_in_use(small: str, models: Path) -> None:
    size = installed.size_of(models / small)
    registry.use(small)
    with pytest.raises(InputError, match="is the model of new libraries; run 'roco model use roco-mini' first"):
        remove_model(small)
    removed = remove_model(small, force=True)
    assert (removed.bytes, removed.was_default) == (size, True)
    assert registry.default() == "roco-mini"
    assert not (models / small).exists()
    with pytest.raises(ModelNotFound, match="not among the models"):
        remove_model(small)


def test_remove_never_takes_what_is_not_its_own(models: Path, clip_folder: Path) -> None:
    with pytest.raises(InputError, match="part of roco"):
        remove_model("roco-mini", force=True)
    with pytest.raises(InputError, match="a folder of your own"):
        remove_model(str(clip_folder), force=True)
    assert registry.EMBEDDED.is_dir()
    assert clip_folder.is_dir()


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("BiomedCLIP", "biomedclip"),
        ("microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", "biomedclip"),
        ("Open-PMC", "open-pmc"),
        ("bmc-clip", "bmc-clip"),
        ("medpmc", "medpmc"),
        ("pmc-vit-l", "pmc-vit-l"),
        ("ryanyip7777/pmc_vit_l_14", "pmc-vit-l"),
        ("CheXzero", "chexzero"),
        ("UniMed-CLIP", "unimed"),
    ],
)
def test_the_names_that_people_type_are_known(models: Path, name: str, means: str) -> None:
    assert registry.canonical(name) == means
    with pytest.raises(ModelNotFound, match=rf"{means} .*is not on this disk. .*roco model"):
        registry.find(name)


def test_a_folder_that_was_moved_is_to_be_named_anew(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"There is no model in .*gone\. .* `roco library relocate --model FOLDER`"):
        registry.find(str(tmp_path / "gone"))


def test_a_known_model_that_cannot_be_loaded_says_what_to_use(models: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"medclip cannot be loaded, because .*pickle.*; take clip-roco"):
        registry.find("medclip")


def test_a_published_figure_has_a_pool_a_direction_and_an_author() -> None:
    figures = [figure for entry in registry.entries().values() for figure in entry.retrieval]
    assert len(figures) > 5
    for figure in figures:
        assert figure.pool is None or figure.pool > 0
        assert figure.direction in {"image to text", "text to image"}
        assert figure.word in {"roco", "publisher", "abstract", "others"}
        assert all(k in {"1", "5", "10", "200"} and 0 < value < 100 for k, value in figure.recall.items())


def test_the_figures_of_the_embedded_model_are_those_of_its_card() -> None:
    card = (registry.EMBEDDED / "README.md").read_text()
    for figure in registry.entries()[registry.DEFAULT].retrieval:
        (line,) = [line for line in card.splitlines() if "%" in line and re.findall(r"[\d.]+(?= %)", line)[:3] == [
            f"{value:.1f}" for value in figure.recall.values()]]  # fmt: skip
        assert figure.direction in line


def test_what_cannot_be_pulled_says_why_in_one_sentence(models: Path) -> None:
    by_hand = [model for model in list_models() if model.by_hand]
    assert {model.name for model in by_hand} == {"unimed", "chexzero"}
    for model in by_hand:
        with pytest.raises(ModelNotFound, match=f"{model.name} cannot be pulled: .*roco model import PATH") as refusal:
            pull(model.name)
        assert str(refusal.value).count(". ") == 0
