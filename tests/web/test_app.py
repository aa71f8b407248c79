"""The page as a whole, and the private folder of a run."""

from __future__ import annotations

import gc
import logging
import re
from pathlib import Path

import pytest

from roco_search.web.app import server
from roco_search.web.pages import PAGES
from roco_search.web.run import scratch_folder
from tests.web.conftest import Site


def test_the_page_asks_nobody_else_for_anything(site: Site) -> None:
    page = site.ask("/").body.decode()
    sources = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', page)
    assert sources and not [source for source in sources if source.startswith(("http", "//"))]
    config = site.ask("/config").json
    assert config["analytics_enabled"] is False
    assert "For research, not for clinical use." in str(config["components"])


def test_pages_that_were_opened_long_ago_leave_nothing(site: Site) -> None:
    """Gradio keeps a copy of the whole page's configuration for each that was ever opened."""
    from gradio.state_holder import StateHolder

    site.search("brain MRI")
    (holder,) = [one for one in gc.get_objects() if isinstance(one, StateHolder) and site.session in one.session_data]
    for number in range(PAGES + 30):
        holder[f"page {number}"]
    site.search("brain MRI")  # a page whose state is gone begins anew
    assert not [part for state in holder.session_data.values() for part in state.components], (
        "its parts and their values"
    )
    assert len(holder.session_data) == len(holder.time_last_used) == PAGES


def test_the_private_folder_is_gone_at_the_end_and_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "x").write_text("x")
    assert not folder.exists()
    dead = tmp_path / ".roco-demo.tmp-00000000-999999999"
    alive = tmp_path / ".roco-demo.tmp-00000000-1"
    for made in (dead, alive):
        made.mkdir()
    with scratch_folder():
        assert not dead.exists() and alive.exists()


def test_a_server_leaves_the_logs_of_others_alone() -> None:
    """A handler that is closed may close its stream: absl's, which tensorboard imports, closes standard error."""
    from fastapi import FastAPI

    closed = []

    class Handler(logging.Handler):
        def close(self) -> None:
            closed.append(self)
            super().close()

    handler = Handler()
    server(FastAPI())
    assert not closed, handler
