"""Where things lie: what platformdirs says, without loading it."""

from __future__ import annotations

import platformdirs
import pytest

from roco_search.system.folders import cache_folder, library_folder, user_folder

PLATFORMDIRS = {
    "data": ("XDG_DATA_HOME", platformdirs.user_data_dir),
    "cache": ("XDG_CACHE_HOME", platformdirs.user_cache_dir),
    "config": ("XDG_CONFIG_HOME", platformdirs.user_config_dir),
}


@pytest.mark.parametrize("kind", PLATFORMDIRS)
@pytest.mark.parametrize("value", [None, "", "  ", "/elsewhere", "/with a space/and ü"])
def test_it_is_where_platformdirs_says(kind: str, value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    variable, theirs = PLATFORMDIRS[kind]
    if value is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, value)
    assert user_folder(kind) == theirs("roco")


def test_variables_of_our_own_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("ROCO_LIBRARY", "~/scans")
    monkeypatch.setenv("ROCO_CACHE", "/fast/cache")
    assert (library_folder(), cache_folder()) == ("/home/someone/scans", "/fast/cache")
    monkeypatch.delenv("ROCO_LIBRARY")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert library_folder() == "/data/roco/library"
