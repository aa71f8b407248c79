"""A model as one file: the same model at the other end, or nothing at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roco_search.errors import InputError, ModelNotFound, StorageFull, UnsupportedModel
from roco_search.models import load_encoder
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.archive import _check_member, export_model, import_model
from tests.disk import files_up_to


@pytest.fixture(scope="module")
def archive(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archive") / "model.zip"
    source = shutil.copytree(clip_folder, file.parent / "small-clip")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    (source / "model.fp16.safetensors").write_bytes(b"x")
    export_model(source, file)
    return file


def nothing_is_here(models: Path) -> bool:
    return installed.installed_names() == [] and not [
        path for path in models.rglob("*") if path.name != ".staging" and path.suffix != ".lock"
    ]


def rewritten(archive: Path, to: Path, change: Callable[[dict[str, bytes]], None], *, consistent: bool = True) -> Path:
    """The archive with other members, and, where it is to be consistent, a manifest that agrees with them."""
    with zipfile.ZipFile(archive) as source:
        members = {name: source.read(name) for name in source.namelist()}
    change(members)
    if consistent:
        raw = members[installed.MANIFEST]
        manifest = json.loads(raw)
        files = {name: content for name, content in members.items() if name != installed.MANIFEST}
        manifest["files"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
        members[installed.MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(to, "w") as sink:
        for name, content in members.items():
            sink.writestr(name, content)
    return to


def test_the_same_model_is_at_the_other_end(archive: Path, models: Path, clip_folder: Path) -> None:
    imported = import_model(archive)
    assert (imported.name, imported.already, imported.licence) == ("small-clip", False, "cc-by-4.0")
    here, there = load_encoder("small-clip", "cpu"), load_encoder(clip_folder, "cpu")
    assert here.fingerprint == there.fingerprint == imported.fingerprint
    image = np.arange(3 * 40 * 30, dtype=np.uint8).reshape(40, 30, 3)
    assert np.array_equal(here.encode_images([image]), there.encode_images([image]))
    names = {path.name for path in imported.directory.iterdir()}
    assert names == {*(path.name for path in clip_folder.iterdir()), installed.MANIFEST}
    assert import_model(archive).already


def test_an_archive_depends_on_the_model_alone(
    archive: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_model(archive)
    monkeypatch.setattr("time.localtime", lambda *_: (2031, 1, 1, 0, 0, 0, 0, 0, 0))
    assert export_model("small-clip", tmp_path / "again.zip").file.read_bytes() == archive.read_bytes()


def test_the_embedded_model_can_be_kept_under_another_name(models: Path, tmp_path: Path) -> None:
    exported = export_model("roco-mini", tmp_path / "mini.zip")
    with pytest.raises(InputError, match="add --name"):
        import_model(exported.file)
    kept = import_model(exported.file, "mini-2026")
    assert kept.fingerprint == exported.fingerprint == registry.find("mini-2026").fingerprint
    texts = ["brain MRI"]
    ours, theirs = (load_encoder(name, "cpu").encode_texts(texts) for name in ("mini-2026", "roco-mini"))
    assert np.allclose(ours, theirs, atol=1e-3)


def test_a_name_that_is_taken_is_not_lost_by_accident(archive: Path, models: Path, tmp_path: Path) -> None:
    first = import_model(archive)
    different = tmp_path / "other.zip"
    source = shutil.copytree(first.directory, tmp_path / "other")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "initializer_factor": 2.0}))
    (source / installed.MANIFEST).unlink()
    export_model(source, different)
    with pytest.raises(InputError, match="Another model is called small-clip here"):
        import_model(different, "small-clip")
    assert import_model(different, "org/second").name == "org/second"
    replaced = import_model(different, "small-clip", force=True)
    assert replaced.fingerprint == registry.find("small-clip").fingerprint != first.fingerprint
    assert installed.installed_names() == ["org/second", "small-clip"]
    with pytest.raises(InputError, match="cannot be the name of a model"):
        import_model(archive, "../outside")


def test_export_refuses_what_it_should(models: Path, tmp_path: Path, clip_folder: Path) -> None:
    file = tmp_path / "model.zip"
    file.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists; name another file"):
        export_model(clip_folder, file)
    assert file.read_bytes() == b"mine"
    with pytest.raises(InputError, match="is a folder; name a file"):
        export_model(clip_folder, tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        export_model(clip_folder, tmp_path / "missing" / "model.zip")
    with pytest.raises(ModelNotFound):
        export_model("nothing", tmp_path / "nothing.zip")
    assert export_model(clip_folder, file, force=True).bytes == file.stat().st_size > 4
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == ["model.zip"], "no temporary file"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9, 0.999])
def test_a_truncated_archive_leaves_nothing(archive: Path, models: Path, tmp_path: Path, share: float) -> None:
    raw = archive.read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(UnsupportedModel, match="is damaged, was altered"):
        import_model(cut)
    assert nothing_is_here(models)


def flipped(archive: Path, to: Path, position: int, mask: int) -> Path:
    raw = bytearray(archive.read_bytes())
    raw[position % len(raw)] ^= mask
    to.write_bytes(raw)
    return to


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_any_altered_byte_is_refused_or_changes_nothing(
    archive: Path, models: Path, tmp_path: Path, clip_folder: Path, data: st.DataObject
) -> None:
    size = archive.stat().st_size
    # Half of them in what is not content: the first header and manifest, and the directory at the end.
    position = data.draw(st.integers(0, size - 1) | st.integers(0, 2500) | st.integers(size - 1200, size - 1))
    file = flipped(archive, tmp_path / "altered.zip", position, data.draw(st.integers(1, 255)))
    try:
        imported = import_model(file)
    except (UnsupportedModel, InputError):
        assert nothing_is_here(models)
        return
    got = {path.name: path.read_bytes() for path in imported.directory.iterdir() if path.name != installed.MANIFEST}
    assert got == {path.name: path.read_bytes() for path in clip_folder.iterdir()}
    installed.uninstall(imported.name)


def traversal(members: dict[str, bytes]) -> None:
    members["../outside.json"] = b"{}"


def absolute(members: dict[str, bytes]) -> None:
    members["/tmp/outside.json"] = b"{}"


def pickled(members: dict[str, bytes]) -> None:
    members["pytorch_model.bin"] = b"pickle"


def code(members: dict[str, bytes]) -> None:
    members["modeling.py"] = b"import os"


def nested(members: dict[str, bytes]) -> None:
    members["sub/config.json"] = b"{}"


@pytest.mark.parametrize("change", [traversal, absolute, pickled, code, nested])
def test_what_is_no_part_of_a_model_is_never_unpacked(
    archive: Path, models: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    with pytest.raises(UnsupportedModel, match="no part of a model"):
        import_model(rewritten(archive, tmp_path / "bad.zip", change))
    assert nothing_is_here(models)
    assert not (tmp_path / "outside.json").exists()


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="was altered"):
        _check_member(zipfile.ZipInfo(""), tmp_path / "bad.zip")


def swap_weights(members: dict[str, bytes]) -> None:
    members["model.safetensors"] = members["model.safetensors"][:-1] + b"\0"


def run_code(members: dict[str, bytes]) -> None:
    members["config.json"] = json.dumps(
        {**json.loads(members["config.json"]), "auto_map": {"AutoModel": "x.Y"}}
    ).encode()


def lose_weights(members: dict[str, bytes]) -> None:
    del members["model.safetensors"]


@pytest.mark.parametrize(
    ("change", "says"),
    [(swap_weights, "was altered"), (run_code, "never run"), (lose_weights, "no model.safetensors")],
)
def test_a_consistent_archive_of_another_or_no_model_is_refused(
    archive: Path, models: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], says: str
) -> None:
    with pytest.raises(UnsupportedModel, match=says) as refusal:
        import_model(rewritten(archive, tmp_path / "bad.zip", change))
    assert str(models) not in str(refusal.value)
    assert nothing_is_here(models)


def reword_the_card(members: dict[str, bytes]) -> None:
    members["README.md"] = members["README.md"].replace(b"small", b"large")


@pytest.mark.parametrize("change", [reword_the_card, swap_weights, lose_weights])
def test_a_file_that_is_not_the_one_of_the_manifest_is_refused(
    archive: Path, models: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    """The zip's own checksums are right here; only the manifest tells."""
    with pytest.raises(UnsupportedModel, match="was altered"):
        import_model(rewritten(archive, tmp_path / "bad.zip", change, consistent=False))
    assert nothing_is_here(models)


def test_links_compression_and_doubles_are_refused(archive: Path, models: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as source:
        members = {name: source.read(name) for name in source.namelist()}

    def link(name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        return info

    def compressed(name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        return info

    bad = tmp_path / "bad.zip"
    for strange in (link, compressed):
        with zipfile.ZipFile(bad, "w") as sink:
            for name, content in members.items():
                sink.writestr(strange(name) if name == "README.md" else name, content)
        with pytest.raises(UnsupportedModel, match="was altered"):
            import_model(bad)
    shutil.copy(archive, bad)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(bad, "a") as sink:
        sink.writestr("config.json", members["config.json"])
    with pytest.raises(UnsupportedModel, match="was altered"):
        import_model(bad)
    with zipfile.ZipFile(bad, "w") as sink:
        sink.writestr("hello.txt", "hello")
    with pytest.raises(UnsupportedModel, match="not one that holds a model"):
        import_model(bad)
    with pytest.raises(InputError, match="is not a file"):
        import_model(tmp_path)
    assert nothing_is_here(models)


def test_a_disk_without_room_leaves_nothing(
    archive: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StorageFull, match="are needed and 0 MB are free"):
        import_model(archive)
    with pytest.raises(StorageFull, match="are needed"):
        export_model("roco-mini", tmp_path / "mini.zip")
    assert not (tmp_path / "mini.zip").exists()
    assert nothing_is_here(models)


def test_a_disk_that_fills_up_leaves_nothing(archive: Path, models: Path, tmp_path: Path, clip_folder: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with files_up_to(50_000):
        with pytest.raises(StorageFull, match="is full, or a quota is reached"):
            import_model(archive)
        assert nothing_is_here(models)
        with pytest.raises(StorageFull, match="is full, or a quota is reached"):
            export_model(clip_folder, tmp_path / "small.zip")
    assert sorted(path for path in tmp_path.rglob("*") if models not in (path, *path.parents)) == before
