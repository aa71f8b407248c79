"""The Space: whole, of what is installed and what may be given away, and it answers as the library does."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from roco_search.errors import HubError, InputError
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import EMBEDDED
from roco_search.web.asking import PAGE, Conditions, Query
from roco_search.web.space.app import example_desk
from roco_search.web.space.export import ExportedSpace, export_space, push_space
from roco_search.web.space.phantoms import PHANTOMS, draw
from roco_search.web.space.wheel import build_wheel, requirements
from tests.hub.hub_server import TOKEN, Hub, serve
from tests.web.conftest import Site
from tests.web.page import Page, wait

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportedSpace:
    return export_space(tmp_path_factory.mktemp("space") / "demo", "roco-mini")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_is_the_package_as_its_record_says(exported: ExportedSpace) -> None:
    (wheel,) = exported.folder.glob("*.whl")
    files = contents(wheel)
    (info,) = {name.split("/")[0] for name in files if ".dist-info/" in name}
    rows = list(csv.reader(io.StringIO(files[f"{info}/RECORD"].decode())))
    assert {row[0] for row in rows} == set(files)
    assert next(row for row in rows if row[0].endswith("RECORD"))[1:] == ["", ""]
    package = ROOT / "roco_search"
    own = {f"roco_search/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    own = {name for name in own if "__pycache__" not in name and "/." not in name}
    assert {name for name in files if name.startswith("roco_search/")} == own
    assert all(files[name] == (ROOT / name).read_bytes() for name in own)
    assert not [name for name in files if name.endswith(("direct_url.json", ".pyc"))], "nor where it was made"
    assert str(ROOT).encode() not in b"".join(data for name, data in files.items() if name.startswith(info))
    assert f"{info}/licenses/LICENSE" in files


def test_nothing_says_where_it_was_made(exported: ExportedSpace) -> None:
    places = {str(ROOT), str(exported.folder), str(exported.folder.parent), sys.prefix}
    said: dict[str, bytes] = {}
    for path in exported.folder.rglob("*"):
        if path.is_file():
            said |= {path.name: path.read_bytes()} if path.suffix != ".whl" else contents(path)
    assert len(said) > 200
    assert not [(name, place) for name, data in said.items() for place in places if place.encode() in data]


@pytest.mark.slow
def test_pip_takes_the_wheel_and_what_it_installs_makes_the_same_wheel(exported: ExportedSpace, tmp_path: Path) -> None:
    (wheel,) = exported.folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    done = subprocess.run([*pip, str(tmp_path / "site"), str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = "import pathlib, roco_search.web.space.wheel as w; print(w.build_wheel(pathlib.Path('.')))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def again() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    done = again()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
    altered = tmp_path / "site" / "roco_search" / "errors.py"
    altered.write_text(altered.read_text() + "\n")
    assert "has changed since it was installed" in again().stderr


def test_a_clone_that_has_changed_since_is_not_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"numpy", "pydicom", "onnxruntime"} <= set(requirements())
    monkeypatch.setattr("roco_search.__version__", "99")
    with pytest.raises(InputError, match="has changed since it was installed"):
        build_wheel(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_space_is_whole_and_says_what_it_is(exported: ExportedSpace) -> None:
    folder = exported.folder
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert on_disk == set(exported.files) and {"app.py", "requirements.txt", "README.md"} <= on_disk
    header = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert header["sdk"] == "gradio" and header["app_file"] == "app.py"
    assert header["sdk_version"] == distribution("gradio").version
    text = (folder / "README.md").read_text()
    assert "For research, not for clinical" in text and "## Where it fails" in text, "the model's own card is in it"
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines), "every one is pinned"
    names = {line.split("==")[0] for line in lines}
    assert "gradio" in names and not names & {"torch", "transformers", "hnswlib"}
    assert len(list((folder / "examples").glob("*.png"))) == 4 * len(PHANTOMS)
    assert not [path for path in on_disk if path.endswith((".dcm", ".jpg"))], "no image of a patient goes along"


def test_another_model_goes_along_with_what_it_needs(tmp_path: Path) -> None:
    model = Path(shutil.copytree(EMBEDDED, tmp_path / "other"))
    for name in ("text.onnx", "image.onnx", "README.md"):  # without its graphs it needs torch
        (model / name).unlink()
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    exported = export_space(tmp_path / "space", model)
    assert "model/model.safetensors" in exported.files and "model/pytorch_model.bin" not in exported.files
    lines = (tmp_path / "space" / "requirements.txt").read_text()
    assert "torch==" in lines and "transformers==" in lines
    assert "has no model card" in (tmp_path / "space" / "README.md").read_text()
    assert json.loads((tmp_path / "space" / "roco-space.json").read_text())["model"] == "model"


def test_a_space_is_renewed_and_nothing_else_is_touched(exported: ExportedSpace, tmp_path: Path) -> None:
    space = Path(shutil.copytree(exported.folder, tmp_path / "space"))
    (space / "roco_search-0.0.1-py3-none-any.whl").write_bytes(b"old")
    (space / ".git").mkdir()
    (space / ".git" / "config").write_text("mine")
    export_space(space, "roco-mini")
    assert len(list(space.glob("*.whl"))) == 1 and (space / ".git" / "config").read_text() == "mine"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "app.py").write_text("mine")
    for folder in (tmp_path / "thesis", tmp_path / "thesis" / "app.py"):
        with pytest.raises(InputError, match="contains other files"):
            export_space(folder, "roco-mini")
    assert (tmp_path / "thesis" / "app.py").read_text() == "mine"


def test_the_head_phantom_is_shepps_and_logans() -> None:
    picture = np.asarray(draw(PHANTOMS["head"]), float) / 255
    # Grey values of the published table: the skull, the brain, the large ventricle, the upper tumour.
    for (x, y), grey in {(0, 0.9): 1.0, (0, -0.4): 0.2, (0.22, 0): 0.0, (0, 0.45): 0.3, (0.9, 0.9): 0.0}.items():
        assert picture[round((1 - y) * 128), round((x + 1) * 128)] == pytest.approx(grey, abs=0.01)
    assert np.asarray(draw(PHANTOMS["chest"], noise=0.05, seed=1)).std() > 0


# To the hub.


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def small(exported: ExportedSpace, tmp_path: Path) -> Path:
    """The Space with a wheel that is quickly sent."""
    space = Path(shutil.copytree(exported.folder, tmp_path / "small"))
    (wheel,) = space.glob("*.whl")
    wheel.write_bytes(b"x" * 1000)
    (space / ".git").mkdir()
    (space / ".git" / "config").write_text("mine")
    return space


def test_a_pushed_space_is_the_exported_one_and_private(hub: Hub, small: Path) -> None:
    assert push_space(small, "org/demo") == f"{hub.endpoint}/spaces/org/demo"
    (created,) = hub.created
    assert (created["sdk"], created["type"], created["visibility"]) == ("gradio", "space", "private")
    files = {path.relative_to(small).as_posix(): path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert hub.files("org/demo") == {name: data for name, data in files.items() if not name.startswith(".git/")}
    hub.pushed |= {"org/demo/roco_search-0.0.1-py3-none-any.whl": b"old", "org/demo/notes.md": b"theirs"}
    push_space(small, "org/demo")
    assert "roco_search-0.0.1-py3-none-any.whl" not in hub.files("org/demo")
    assert hub.files("org/demo")["notes.md"] == b"theirs"


def test_what_the_hub_refuses_is_said_in_words(
    hub: Hub, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="contains no Space"):
        push_space(tmp_path, "org/demo")
    for name in ("demo", "a/b/c", "org/..", "https://x/y"):
        with pytest.raises(InputError, match="is not a name"):
            push_space(small, name)
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    with pytest.raises(HubError, match=r"answered 401 .* HF_TOKEN") as refusal:
        push_space(small, "org/demo")
    assert "hf_stranger" not in str(refusal.value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.broken = 500
    monkeypatch.setattr("time.sleep", lambda _: None)  # it tries again and again
    with pytest.raises(HubError, match=r"answered 500|cannot be reached"):
        push_space(small, "org/demo")
    with pytest.raises(HubError, match="cannot be reached"):
        push_space(small, "org/demo", endpoint="http://127.0.0.1:9")


# It runs.

FRESH = pytest.mark.skipif(
    not (os.environ.get("CI") or os.environ.get("ROCO_TEST_SPACE")),
    reason="it installs gradio and its like from the registry; set ROCO_TEST_SPACE=1, or CI does",
)


@pytest.fixture(scope="module")
def space(exported: ExportedSpace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The Space as it runs from its own requirements."""
    place = tmp_path_factory.mktemp("running")
    python = place / "venv" / "bin" / "python"
    venv = [sys.executable, "-m", "venv", "--without-pip", str(place / "venv")]
    subprocess.run(venv, check=True, capture_output=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", str(python), "--quiet", "-r", "requirements.txt"]
    done = subprocess.run(uv, cwd=exported.folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"uv cannot install here: {done.stderr.strip().splitlines()[-1]}")
    # Nothing of this installation and nobody's cache: no PYTHONPATH, another home; and no network by proxy.
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(place), "PORT": "0", "HTTPS_PROXY": "http://127.0.0.1:9",
        "TMPDIR": str(place), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with (place / "log").open("w+") as log:
        running = subprocess.Popen(
            [str(python), "app.py"], cwd=exported.folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield _wait(running, place)
        finally:
            running.terminate()
            running.wait(30)
    assert not list(place.glob("roco-*")), "nothing is left of it"


@pytest.mark.slow
@FRESH
def test_the_space_runs_from_its_own_requirements_and_answers_the_same(
    exported: ExportedSpace, space: Site, tmp_path: Path
) -> None:
    with example_desk(exported.folder, tmp_path / "here") as desk:
        for text in ("brain MRI", "chest X-ray"):
            gallery, expected = space.search(text)[1], desk.find(Query(text), Conditions())
            names = re.findall(r'roco-name">([^<]*)<', gallery)
            assert names == [desk.name(hit.path) for _, hit in expected.hits] and len(names) == PAGE
            scores = [float(score) for score in re.findall(r"<b>(-?[\d.]+)</b>", gallery)]
            assert scores == pytest.approx([hit.score for _, hit in expected.hits], abs=0.002)


@pytest.mark.slow
@FRESH
def test_the_space_does_the_same_in_a_browser(browser: Any, space: Site, tmp_path: Path) -> None:
    """Its examples are browsed, searched, opened, liked, chosen, classified and mapped."""
    page = Page(browser, space, tmp_path)
    shown = page.ids()
    assert len(shown) >= PAGE and "last indexed" in page.status
    text, gallery = "brain MRI", space.search("brain MRI")[1]
    assert page.search(text) == [int(number) for number in re.findall(r'data-id="(\d+)"', gallery)]
    page.page.locator(".roco-card").first.press("x")
    page.page.locator(".roco-card").first.press("Enter")
    wait(page, "document.querySelector('.roco-viewer [data-part=image]').src.includes('size=1280')")
    page.page.keyboard.press("h")
    wait(page, "document.querySelector('[data-part=heat-note]').textContent.startsWith('Red')")
    assert page.wrong() == []
    page.shot("space-viewer")
    before = page.status
    page.page.get_by_role("button", name="More like this").click()
    assert len(page.answered(before)) == PAGE and "images like" in page.status
    with page.page.expect_download() as saved:
        page.page.get_by_role("button", name="Contact sheet").click()
    assert Path(saved.value.path()).read_text("utf-8").count("<img") == 1
    page.tab("Classify")
    page.drop("#roco-classify-upload button", next((ROOT / "roco_search" / "examples").glob("chest-xray*.jpg")))
    page.page.locator(".roco-bar").first.wait_for()
    assert page.page.locator(".roco-label").first.inner_text() == "X-ray"
    page.tab("Library")
    wait(page, "document.querySelectorAll('.roco-legend button').length > 1")
    page.shot("space-map")
    assert [url for url in page.requests if not url.startswith((space.url, "data:", "blob:"))] == []
    assert page.errors == []


def _wait(running: subprocess.Popen[bytes], place: Path) -> Site:
    for _ in range(240):
        if running.poll() is not None:
            break
        if match := re.search(r"http://127\.0\.0\.1:(\d+)/", (place / "log").read_text()):
            return Site(None, place, int(match[1]), place)  # type: ignore[arg-type]
        time.sleep(0.25)
    raise AssertionError((place / "log").read_text())


def test_on_the_hub_it_listens_for_its_own_name_and_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    from roco_search.web.space.app import space_address

    monkeypatch.delenv("PORT", raising=False)
    assert space_address().host == "127.0.0.1" and not space_address().rules.public
    monkeypatch.setenv("SPACE_ID", "org/demo")
    monkeypatch.setenv("SPACE_HOST", "org-demo.hf.space")
    there = space_address()
    assert (there.host, there.port, there.rules.public) == ("0.0.0.0", 7860, True)
    assert "https://huggingface.co" in there.rules.framed_by


def test_encoders_of_a_space_are_found(exported: ExportedSpace) -> None:
    from roco_search.web.space.app import space_encoder

    assert space_encoder(exported.folder).fingerprint == load_encoder("roco-mini", "cpu").fingerprint
