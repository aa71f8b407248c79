"""An image goes on to another program: only from this machine, only by id, only what the library holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from roco_search.errors import InputError
from roco_search.web.http.gate import Rules
from roco_search.web.http.handover import Handover, check_pattern, open_here
from tests.web.conftest import Site, serve


def number_of(site: Site, name: str) -> int:
    frames = site.desk.ask(lambda library: library.frames.get(range(1, 99)))
    return next(frame.id for frame in frames.values() if frame.path.endswith(name))


def test_other_sites_and_other_machines_open_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # there is no opener: what reaches it says so
    address = f"/roco/open/{number_of(site, 'CT_small.dcm')}"
    assert site.ask(address, "POST").status == 422
    assert "has no" in site.ask(address, "POST", Origin=site.url).json["detail"]
    assert site.ask(address, "POST", Origin="https://elsewhere.example").status == 403
    assert site.ask(address, "POST", Sec_Fetch_Site="cross-site").status == 403
    assert site.ask(address, "POST", X_Forwarded_For="10.0.0.1").status == 403
    assert site.ask(address).status == 404, "it is no address to look at"
    assert site.ask("/roco/open/98765", "POST").status == 404
    for wrong in ("/roco/open/../etc", "/roco/open/%2Fetc%2Fpasswd", "/roco/open/x"):
        assert site.ask(wrong, "POST").status == 404
    name = "scans.hospital.example"
    with serve(site.desk, tmp_path, site.scans, hosts=frozenset({name}), origin=f"https://{name}") as proxied:
        assert proxied.ask(address, "POST").status == 403
        facts = proxied.ask(address.replace("open", "image") + ".json").json
        assert facts["here"] is False and facts["path"].endswith("CT_small.dcm")


def test_what_could_be_a_program_is_not_opened(tmp_path: Path) -> None:
    for name in ("image.exe", "image.desktop", "image.dcm.sh"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match="has not the name of an image"):
            open_here(str(tmp_path / name))
    with pytest.raises(InputError, match="no longer exists"):
        open_here(str(tmp_path / "gone.dcm"))


def test_a_link_names_what_the_file_states(site: Site, scans: Path) -> None:
    frame = site.desk.frame(number_of(site, "CT_small.dcm"))
    assert frame is not None
    header = pydicom.dcmread(scans / "CT_small.dcm", stop_before_pixels=True)
    linked = Handover(pattern="https://ohif.example/viewer?StudyInstanceUIDs={study}&s={series}&n={id}").link(frame)
    assert linked == (
        f"https://ohif.example/viewer?StudyInstanceUIDs={header.StudyInstanceUID}&s={header.SeriesInstanceUID}"
        f"&n={frame.id}"
    )
    assert (
        Handover(pattern="weasis://?p={path}").link(replace(frame, path="/a b/é&c"))
        == "weasis://?p=%2Fa%20b%2F%C3%A9%26c"
    )
    drawn = site.desk.frame(number_of(site, "drawn/3.png"))
    assert drawn is not None and Handover(pattern="https://x.example/{study}").link(drawn) is None
    assert Handover().link(frame) is None
    assert Handover.under(Rules()).local and not Handover.under(Rules(any_address=True)).local


@pytest.mark.parametrize(
    "wrong",
    ["javascript://%0aalert({id})", "https://x.example/", "{study}", "https://x/{study.__class__}", "https://x/{patient}",
     "https://x/{study", "https://x/{study!r}", "https://x/{study:>9}", "https://x/ {study}", "file:///{path}"],
)  # fmt: skip
def test_a_pattern_is_an_address_of_what_is_known(wrong: str) -> None:
    with pytest.raises(InputError, match="is no pattern"):
        check_pattern(wrong)


def test_a_pattern_does_not_show_what_is_hidden() -> None:
    right = "slicer://viewer/?path={path}"
    assert check_pattern(right) == right
    with pytest.raises(InputError, match="leave one of them out"):
        check_pattern(right, redact_paths=True)
