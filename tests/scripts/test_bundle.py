"""``scripts/bundle``: one archive from which roco installs, indexes and answers where there is no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CLOSED = ["unshare", "--net", "--map-root-user"]
"""A network namespace without a route, without even a loopback device that is up."""


def can_close_the_network() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*CLOSED, "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, made of a copy of the checkout and unpacked."""
    folder = tmp_path_factory.mktemp("bundle")
    checkout = folder / "checkout"
    for name in ("roco_search", "scripts"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([checkout / "scripts" / "bundle"], env=environment, check=True, capture_output=True)
    (archive,) = (checkout / "dist").glob("roco-search-*.tar")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (made,) = folder.glob("roco-search-*")
    return made


@pytest.mark.slow
def test_it_holds_wheels_alone(unpacked: Path) -> None:
    names = {path.name for path in (unpacked / "wheels").iterdir()}
    assert all(name.endswith(".whl") for name in names)
    assert any(name.startswith("hnswlib-") for name in names), "compiled here, since its publisher has no wheel"
    assert any(name.startswith("roco_search-") for name in names)


@pytest.mark.slow
@pytest.mark.skipif(not can_close_the_network(), reason="no network namespace can be made here (unshare --net)")
def test_it_installs_and_answers_without_a_network(unpacked: Path, tmp_path: Path) -> None:
    target, scans = tmp_path / "roco", tmp_path / "scans"
    # Python would compile every module of torch, and roco its model anew: longer than the rest, and tested elsewhere.
    plain = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PIP_NO_COMPILE": "1"}
    plain["ROCO_CACHE"] = os.environ["ROCO_CACHE"]

    def closed(*command: str | Path) -> str:
        done = subprocess.run([*CLOSED, *command], env=plain, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(target / "bin" / "roco") in closed(unpacked / "install", target)
    scans.mkdir()
    Image.linear_gradient("L").save(scans / "ramp.png")
    closed(target / "bin" / "roco", "index", scans)
    assert "ramp.png" in closed(target / "bin" / "roco", "query", "chest X-ray", "--paths")


@pytest.mark.slow
def test_another_python_is_refused_in_one_sentence(unpacked: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "python3"
    stranger.write_text("#!/bin/sh\necho cp99-linux-none\n")
    stranger.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": str(stranger)}
    done = subprocess.run(
        [unpacked / "install", tmp_path / "roco"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.startswith("This bundle is for cp") and not done.stdout
