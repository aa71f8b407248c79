"""A disk and a hub of the test's own: no model and no setting of the person who runs the tests is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.hub_server import Hub, serve
from tests.models.checkpoints import clip


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of pulled and imported models, empty."""
    monkeypatch.setenv("ROCO_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("ROCO_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("ROCO_MODEL", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random CLIP with a card."""
    folder = clip(tmp_path_factory.mktemp("clip"))
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A small CLIP\n")
    return folder


@pytest.fixture
def hub(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has nothing yet."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(models / "no-token"))
    monkeypatch.setattr("roco_search.hub.download.PAUSE_S", 0.01)
    with serve() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server
