"""The Library tab without a browser: what is there, and what could not be read."""

from __future__ import annotations

from tests.web.conftest import Site


def test_the_library_tab_tells_what_is_there_and_what_is_not(site: Site) -> None:
    found, refused = site.call("look", [])
    assert found.count("<svg") == 2 and "Images by modality" in found and "roco-mini" in found
    assert "broken.png" in refused and "cut short" in refused and "reportsi.dcm" in refused
