"""``pull`` against a hub on this machine: whole or not at all, at one commit, without pickles, in clear words."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from roco_search.errors import Busy, HubError, InputError, ModelNotFound, StorageFull, UnsupportedModel
from roco_search.models import load_encoder
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.pull import pull
from tests.disk import files_up_to
from tests.hub.hub_server import Hub, Repository
from tests.meter import Meter

NAME = "spicy03/CLIP-ROCO-v1"


@pytest.fixture
def published(hub: Hub, clip_folder: Path) -> Repository:
    """The hub has the small CLIP, among files that are nobody's business."""
    hub.repositories[NAME] = Repository.of_folder(clip_folder)
    hub.repositories[NAME].files |= {
        "pytorch_model.bin": b"pickle" * 5000,
        "modeling_evil.py": b"import os",
        "model.fp16.safetensors": b"x" * 100,
        "model-00001-of-00002.safetensors": b"x" * 100,
        "onnx/model.onnx": b"x" * 100,
        ".gitattributes": b"*.bin",
    }
    return hub.repositories[NAME]


def nothing_is_here(models: Path) -> bool:
    return installed.installed_names() == [] and not [p for p in models.glob("*") if not p.name.startswith(".")]


def test_a_pulled_model_is_the_one_that_was_published(published: Repository, hub: Hub, clip_folder: Path) -> None:
    meter = Meter()
    pulled = pull("clip-roco", progress=meter)
    assert (pulled.name, pulled.repository, pulled.revision) == ("clip-roco", NAME, published.commit)
    assert (pulled.licence, pulled.already) == ("mit", False)
    assert sorted(path.name for path in pulled.directory.iterdir()) == sorted(
        [*(path.name for path in clip_folder.iterdir()), installed.MANIFEST]
    )
    assert not {"pytorch_model.bin", "modeling_evil.py", "model.fp16.safetensors"} & set(hub.fetched())
    assert meter.total == meter.done == pulled.bytes
    assert meter.stopped
    original = load_encoder(clip_folder, "cpu")
    for name in ("clip-roco", NAME):
        encoder = load_encoder(name, "cpu")
        assert (encoder.name, encoder.fingerprint) == ("clip-roco", original.fingerprint)
    assert np.array_equal(encoder.encode_texts(["chest"]), original.encode_texts(["chest"]))
    manifest = installed.read_manifest(pulled.directory)
    assert manifest
    assert installed.is_whole(pulled.directory, manifest)
    assert not list((installed.models_directory() / ".staging").glob("*@*")), "nothing is left in staging"


def test_a_model_that_is_here_stays_at_its_commit_without_the_network(published: Repository, hub: Hub) -> None:
    first = pull("clip-roco")
    published.files["README.md"] = b"# Another card"
    hub.asked.clear()
    again = pull("clip-roco")
    assert (again.revision, again.already) == (first.revision, True)
    assert hub.asked == []
    newer = pull("clip-roco", "main")
    assert newer.revision == published.commit != first.revision
    assert not newer.already
    assert (newer.directory / "README.md").read_bytes() == b"# Another card"
    assert pull("clip-roco", published.commit).already


def test_a_model_that_was_altered_on_this_disk_comes_again(published: Repository, clip_folder: Path) -> None:
    weights = pull("clip-roco").directory / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    again = pull("clip-roco")
    assert not again.already
    assert again.fingerprint == registry.find(clip_folder).fingerprint


def test_a_lost_connection_is_taken_up_where_it_was_lost(published: Repository, hub: Hub) -> None:
    hub.cut_after = {"model.safetensors": [20_000, 5_000, 0], "tokenizer.json": [10]}
    pulled = pull("clip-roco")
    assert pulled.fingerprint == registry.find("clip-roco").fingerprint
    starts = [asked for _, path, asked in hub.asked if path.startswith("/cdn/") and path.endswith(".safetensors")]
    assert starts == [None, "bytes=20000-", "bytes=25000-", "bytes=25000-"]


def test_an_interrupted_pull_leaves_no_model_and_the_next_goes_on(
    published: Repository, hub: Hub, models: Path, clip_folder: Path
) -> None:
    hub.cut_after = {"model.safetensors": [30_000, 0, 0, 0, 0]}
    with pytest.raises(HubError, match="What has come so far is kept"):
        pull("clip-roco")
    assert nothing_is_here(models)
    with pytest.raises(ModelNotFound, match="roco model pull clip-roco"):
        registry.find("clip-roco")
    hub.asked.clear()
    hub.cut_after.clear()
    meter = Meter()
    pulled = pull("clip-roco", progress=meter)
    assert hub.fetched() == ["model.safetensors"] * 2, "the small files are here already; one redirect, one content"
    assert hub.asked[-1][2] == "bytes=30000-"
    assert meter.done == meter.total == pulled.bytes
    assert pulled.fingerprint == registry.find(clip_folder).fingerprint


def test_a_server_that_ignores_ranges_sends_it_all_again(published: Repository, hub: Hub, clip_folder: Path) -> None:
    hub.ranges = False
    hub.cut_after = {"model.safetensors": [30_000]}
    meter = Meter()
    assert pull("clip-roco", progress=meter).fingerprint == registry.find(clip_folder).fingerprint
    assert meter.done == meter.total


def test_an_interruption_by_the_person_is_no_different(
    published: Repository, hub: Hub, models: Path, clip_folder: Path
) -> None:
    class Impatient(Meter):
        def advance(self, count: int, **figures: float) -> None:
            super().advance(count)
            if self.done > self.total // 2:
                raise KeyboardInterrupt

    meter = Impatient()
    with pytest.raises(KeyboardInterrupt):
        pull("clip-roco", progress=meter)
    assert meter.stopped
    assert nothing_is_here(models)
    assert pull("clip-roco").fingerprint == registry.find(clip_folder).fingerprint


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_what_is_not_what_was_announced_is_thrown_away(
    published: Repository, hub: Hub, models: Path, file: str
) -> None:
    hub.altered = {file}
    with pytest.raises(HubError, match=f"{file} is not what the hub's own list says"):
        pull("clip-roco")
    assert nothing_is_here(models)
    assert not list(models.rglob(f"{file}*"))
    hub.altered.clear()
    assert not pull("clip-roco").already


def test_a_repository_that_has_only_a_pickle_is_converted(
    published: Repository, hub: Hub, models: Path, clip_folder: Path, tmp_path: Path
) -> None:
    torch.save(load_file(clip_folder / "model.safetensors"), tmp_path / "weights.bin")
    del published.files["model.safetensors"], published.files["model-00001-of-00002.safetensors"]
    published.files["pytorch_model.bin"] = (tmp_path / "weights.bin").read_bytes()
    pulled = pull("clip-roco")
    assert not list(pulled.directory.glob("*.bin"))
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (pulled.directory, clip_folder))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    np.testing.assert_allclose(
        load_encoder("clip-roco", "cpu").encode_texts(["chest"]),
        load_encoder(clip_folder, "cpu").encode_texts(["chest"]),
        atol=1e-6,
    )
    assert "`pytorch_model.bin` (SHA-256" in (pulled.directory / "README.md").read_text()
    assert not list((models / ".staging").glob("*@*"))
    hub.asked.clear()
    assert pull("clip-roco").already
    assert hub.asked == []


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"open_clip_config.json": b"{}", "open_clip_pytorch_model.bin": b"x"}, "has no model_cfg"),
        ({"config.json": b"{}", "tf_model.h5": b"x"}, "only as pickles in several parts or of another program"),
        ({"model.safetensors": b"x"}, "is not in transformers' layout"),
        ({"config.json": b"{}", "README.md": b"x"}, "no weights in safetensors"),
        ({"config.json": b'{"model_type": "llama"}', "model.safetensors": b"x" * 99_999}, "is a 'llama' model"),
        ({"config.json": b'{"model_type": "clip", "auto_map": {}}', "model.safetensors": b"x" * 99_999}, "never run"),
        ({"config.json": b"{", "model.safetensors": b"x" * 99_999}, "org/other/config.json is damaged"),
        ({"config.json": b'{"model_type": "clip"}', "model.safetensors": b"x" * 99}, "not a whole safetensors file"),
    ],
)
def test_what_could_not_be_loaded_is_refused_early(hub: Hub, models: Path, files: dict[str, bytes], says: str) -> None:
    hub.repositories["org/other"] = Repository(files)
    with pytest.raises(UnsupportedModel, match=says) as refusal:
        pull("org/other")
    assert str(models) not in str(refusal.value)
    assert nothing_is_here(models)
    assert not [path for path in models.rglob("*") if path.name.startswith(("model", "config"))]
    if "model.safetensors" in files and len(files["model.safetensors"]) > 99:
        assert "model.safetensors" not in hub.fetched(), "the weights never came"


def test_a_gated_model_says_how_its_terms_are_accepted(
    hub: Hub, models: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["google/medsiglip-448"] = Repository.of_folder(clip_folder, gated=True)
    for token in (None, "hf_stranger"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(
            HubError, match=r"google/medsiglip-448 is gated: accept its terms on .* HF_TOKEN"
        ) as refusal:
            pull("medsiglip")
        assert "hf_stranger" not in str(refusal.value)
        assert nothing_is_here(models)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert pull("medsiglip").name == "medsiglip"
    assert any(path.startswith("/cdn/") for _, path, _ in hub.asked)
    assert hub.tokens_at_cdn == [], "the token stays with the hub"


def test_what_the_hub_does_not_have(published: Repository, hub: Hub, models: Path) -> None:
    with pytest.raises(ModelNotFound, match="The hub has no model org/nothing, or it is private"):
        pull("org/nothing")
    with pytest.raises(ModelNotFound, match=f"{NAME} has no such revision"):
        pull("clip-roco", "v9")
    with pytest.raises(ModelNotFound, match="write its org/name"):
        pull("nothing")
    with pytest.raises(UnsupportedModel, match=r"medclip cannot be loaded, because .* its own program"):
        pull("medclip")
    with pytest.raises(InputError, match="part of roco"):
        pull("roco-mini")
    hub.broken = 500
    with pytest.raises(HubError, match=r"answered 500 .* try again later"):
        pull("clip-roco")
    hub.broken = 200
    with pytest.raises(HubError, match="is not a model hub"):
        pull("clip-roco")
    assert nothing_is_here(models)


def test_no_network_is_said_in_words(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(HubError, match=r"cannot be reached .* 'roco model export' .* 'roco model import' here"):
        pull("clip-roco", endpoint=f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids"):
        pull("clip-roco")
    assert nothing_is_here(models)


def test_a_disk_without_room_is_told_before_the_weights_come(
    hub: Hub, models: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["org/huge"] = Repository.of_folder(clip_folder)
    listing = hub.repositories["org/huge"].listing()
    for sibling in listing["siblings"]:
        if sibling["rfilename"] == "model.safetensors":
            sibling["size"] = 10**18
    monkeypatch.setattr(Repository, "listing", lambda _: listing)
    with pytest.raises(StorageFull, match=r"1,000,000,000,.* MB are needed"):
        pull("org/huge")
    assert hub.fetched() == []


def test_a_disk_that_fills_up_keeps_what_has_come(published: Repository, hub: Hub, models: Path) -> None:
    with files_up_to(50_000), pytest.raises(StorageFull, match="is full, or a quota is reached"):
        pull("clip-roco")
    assert nothing_is_here(models)
    hub.asked.clear()
    assert not pull("clip-roco").already
    assert hub.asked[-1][2], "it went on where the disk was full"


def test_a_commit_that_is_none_names_no_folder(
    published: Repository, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repository, "commit", "../../outside")
    with pytest.raises(HubError, match="does not say which commit"):
        pull("clip-roco")
    assert not models.exists()


def test_shards_are_tied_by_their_index(hub: Hub, clip_folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    CLIPModel.from_pretrained(clip_folder).save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    repository = Repository.of_folder(clip_folder)
    del repository.files["model.safetensors"]
    repository.files |= Repository.of_folder(tmp_path / "shards").files
    hub.repositories["org/shards"] = repository
    pulled = pull("org/shards")
    assert len(list(pulled.directory.glob("model-*-of-*.safetensors"))) > 1
    got = load_encoder("org/shards", "cpu").encode_texts(["chest"])
    np.testing.assert_allclose(got, load_encoder(clip_folder, "cpu").encode_texts(["chest"]), atol=1e-5)


def test_two_pulls_of_one_model_do_not_mix(published: Repository, models: Path) -> None:
    with (
        installed.staging("clip-roco", "elsewhere"),
        pytest.raises(Busy, match=f"clip-roco is being changed by process {os.getpid()}"),
    ):
        pull("clip-roco")
    assert nothing_is_here(models)
    assert not pull("clip-roco").already
