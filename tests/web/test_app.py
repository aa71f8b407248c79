"""The three tabs without a browser: what an event of the page is answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from roco_search.classify import classify
from roco_search.imaging import open_image
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.search import Filters, search
from roco_search.web.desk import PAGE, Conditions, Desk, Query, Upload
from roco_search.web.http.uploads import read_upload
from roco_search.web.run import scratch_folder
from tests.web.conftest import Answer, Site


def shown(gallery: str) -> list[int]:
    return [int(number) for number in re.findall(r'data-id="(\d+)"', gallery)]


def expected(indexed: Path, text: str, n: int = PAGE, **options: object) -> list[tuple[str, int, float]]:
    with Library.open(indexed) as library:
        hits = search(library, load_encoder("roco-mini", "cpu"), [text], n=n, **options)  # type: ignore[arg-type]
    return [(hit.path, hit.frame, hit.score) for hit in hits]


def upload(site: Site, path: Path) -> dict[str, object]:
    """Upload a file as the page does, and return what it then sends."""
    boundary = "x" * 20
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    answer: Answer = site.ask(
        "/gradio_api/upload", "POST", body, Content_Type=f"multipart/form-data; boundary={boundary}"
    )
    assert answer.status == 200, answer.body
    return {"path": answer.json[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}


def test_a_search_in_the_page_is_a_search_in_the_library(site: Site, indexed: Path) -> None:
    status, gallery = site.search("brain MRI", series=False)
    frames = site.desk.ask(lambda library: library.frames(shown(gallery)))
    assert [(frame.path, frame.frame) for frame in frames.values()] == [
        (path, frame) for path, frame, _ in expected(indexed, "brain MRI")
    ]
    assert "12 of" in status
    scores = re.findall(r"<b>(-?[\d.]+)</b>", gallery)
    assert scores == [f"{score:.3f}" for *_, score in expected(indexed, "brain MRI")]


def test_filters_are_what_the_library_holds_and_they_filter(site: Site, indexed: Path) -> None:
    components = {c["props"].get("elem_id"): c["props"] for c in site.ask("/config").json["components"]}
    labels = [label for label, _ in components["roco-modality"]["choices"]]
    assert labels == [f"{term} ({count})" for term, count in site.desk.ask(lambda x: x.count_terms("modality")).items()]
    assert str(site.scans) not in site.ask("/config").body.decode(), "folders are known by keys, not by paths"
    _, gallery = site.search("brain MRI", modality=["CT"], series=False)
    found = site.desk.ask(lambda library: library.frames(shown(gallery)))
    assert {frame.modality for frame in found.values()} == {"CT"}
    assert len(found) == len(expected(indexed, "x", 99, filters=Filters(modality=("CT",))))
    (drawn,) = [key for label, key in components["roco-folder"]["choices"] if label.startswith("drawn")]
    _, gallery = site.search("noise", folder=[drawn], series=False)
    found = site.desk.ask(lambda library: library.frames(shown(gallery)))
    assert {Path(frame.path).parent.name for frame in found.values()} == {"drawn"}


def test_one_hit_a_series_and_the_next_page(site: Site, indexed: Path) -> None:
    grouped = site.desk.find(Query("head CT"), Conditions(), n=99)
    names = [Path(hit.path).name for _, hit in grouped.hits]
    assert sum(name.startswith("series-") for name in names) == 1
    pages = [site.desk.find(Query("head CT"), Conditions(per_series=False), offset=at) for at in (0, PAGE)]
    both = [(hit.path, hit.frame) for page in pages for _, hit in page.hits]
    assert both == [(path, frame) for path, frame, _ in expected(indexed, "head CT", 2 * PAGE)]
    assert [page.more for page in pages] == [True, len(pages[1].hits) == PAGE and pages[1].more]


def test_what_is_like_a_picture_leaves_out_its_file(site: Site) -> None:
    frames = site.desk.ask(lambda library: library.frames(range(1, 99)))
    (mr,) = [frame for frame in frames.values() if frame.path.endswith("MR_small.dcm")]
    found = site.desk.find(Query(like=mr.id), Conditions(per_series=False), n=99)
    assert mr.id not in [number for number, _ in found.hits]
    assert len(found.hits) == len(frames) - 1
    scores = [hit.score for _, hit in found.hits]
    assert scores == sorted(scores, reverse=True)


def test_an_uploaded_image_is_searched_for_and_not_kept(site: Site, scans: Path) -> None:
    file = upload(site, scans / "MR_small.dcm")
    path = Path(str(file["path"]))
    assert path.exists() and path.is_relative_to(site.folder)
    status, gallery, _more, _state, _upload, chip, _forget = site.call(
        "bring", [file, None, "", [], [], [], [], False, False]
    )
    assert not path.exists(), "it is deleted as soon as it is read"
    assert "MR_small.dcm" in chip and "images, the best first" in status
    found = site.desk.ask(lambda library: library.frames(shown(gallery)))
    assert "MR_small.dcm" not in {Path(frame.path).name for frame in found.values()}, "it is what was asked with"


def test_text_and_image_together_are_their_sum(desk: Desk, scans: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.dcm"
    copy.write_bytes((scans / "MR_small.dcm").read_bytes())
    brought = read_upload(copy, tmp_path, desk.encoder)
    both = desk.find(
        Query("chest X-ray", Upload(brought.vector, brought.content, "a")), Conditions(per_series=False), n=99
    )
    total = brought.vector + desk.encoder.encode_texts(["chest X-ray"])[0]
    with Library.open(desk.ask(lambda library: library.directory)) as library:
        hits = search(library, desk.encoder, vector=total, n=99)
    kept = [hit for hit in hits if not hit.path.endswith("MR_small.dcm")]
    assert [(hit.path, hit.score) for _, hit in both.hits] == [(hit.path, hit.score) for hit in kept]


def test_an_image_is_classified_as_roco_classify_does(site: Site) -> None:
    source = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    status, result, *_ = site.call("bring_1", [upload(site, source), None, ["CT", "MRI"], "exclusive"])
    (prediction,) = classify(load_encoder("roco-mini", "cpu"), [next(open_image(source))], ["CT", "MRI"])
    values = re.findall(r'roco-label">([^<]*)<.*?roco-value">([\d.]+) %', result)
    assert values == [(entry.label, f"{100 * entry.probability:.1f}") for entry in prediction.labels]
    assert "heat map" in status
    _, drawn, _ = site.call("explain", [None])
    assert drawn.count("data-layer=") == 3 and drawn.count("data:image/jpeg;base64") == 3
    _, several, _ = site.call("ask", [None, ["pneumonia"], "multi-label"])
    assert "against its opposite" in several and several.count("roco-label") == 1
    told, *_ = site.call("ask", [None, ["one"], "exclusive"])
    assert "always gets 100 %" in told and 'role="alert"' in told


@pytest.mark.parametrize(("text", "says"), [("", "Write what to look for"), ("   ", "Write what to look for")])
def test_what_cannot_be_asked_is_said_in_the_page(site: Site, text: str, says: str) -> None:
    status, _ = site.search(text)
    assert says in status and 'role="alert"' in status


def test_a_file_that_is_no_image_is_refused_and_deleted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Doe^Jane was here")
    file = upload(site, tmp_path / "notes.txt")
    status, *_ = site.call("bring_1", [file, None, ["a", "b"], "exclusive"])
    assert "cannot be used as an image" in status and "Doe" not in status
    assert not Path(str(file["path"])).exists()


def test_the_library_tab_tells_what_is_there_and_what_is_not(site: Site) -> None:
    found, refused = site.call("look", [])
    assert found.count("<svg") == 2 and "Images by modality" in found and "roco-mini" in found
    assert "broken.png" in refused and "cut short" in refused and "reportsi.dcm" in refused


def test_the_page_asks_nobody_else_for_anything(site: Site) -> None:
    page = site.ask("/").body.decode()
    sources = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', page)
    assert sources and not [source for source in sources if source.startswith(("http", "//"))]
    config = site.ask("/config").json
    assert config["analytics_enabled"] is False
    assert "For research, not for clinical use." in str(config["components"])


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
