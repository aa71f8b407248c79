"""The Search tab without a browser: what its events are answered is what the library answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.search import Filters, search
from roco_search.web.backend import PAGE, Conditions, Desk, Query, Upload
from roco_search.web.http.uploads import read_upload
from tests.web.conftest import Site


def shown(gallery: str) -> list[int]:
    return [int(number) for number in re.findall(r'data-id="(\d+)"', gallery)]


def expected(indexed: Path, text: str, n: int = PAGE, **options: object) -> list[tuple[str, int, float]]:
    with Library.open(indexed) as library:
        every = {"group_by": "none", "fold": False, **options}
        hits = search(library, load_encoder("roco-mini", "cpu"), [text], n=n, **every)  # type: ignore[arg-type]
    return [(hit.path, hit.frame, hit.score) for hit in hits]


def test_a_search_in_the_page_is_a_search_in_the_library(site: Site, indexed: Path) -> None:
    status, gallery = site.search("brain MRI", series=False)
    frames = site.desk.ask(lambda library: library.frames.get(shown(gallery)))
    assert [(frame.path, frame.frame) for frame in frames.values()] == [
        (path, frame) for path, frame, _ in expected(indexed, "brain MRI")
    ]
    assert "12 of" in status
    scores = re.findall(r"<b>(-?[\d.]+)</b>", gallery)
    assert scores == [f"{score:.3f}" for *_, score in expected(indexed, "brain MRI")]


def test_filters_are_what_the_library_holds_and_they_filter(site: Site, indexed: Path) -> None:
    components = {c["props"].get("elem_id"): c["props"] for c in site.ask("/config").json["components"]}
    labels = [label for label, _ in components["roco-modality"]["choices"]]
    assert labels == [
        f"{term} ({count})" for term, count in site.desk.ask(lambda x: x.frames.count_terms("modality")).items()
    ]
    assert str(site.scans) not in site.ask("/config").body.decode(), "folders are known by keys, not by paths"
    _, gallery = site.search("brain MRI", modality=["CT"], series=False)
    found = site.desk.ask(lambda library: library.frames.get(shown(gallery)))
    assert {frame.modality for frame in found.values()} == {"CT"}
    assert len(found) == len(expected(indexed, "x", 99, filters=Filters(modality=("CT",))))
    (drawn,) = [key for label, key in components["roco-folder"]["choices"] if label.startswith("drawn")]
    _, gallery = site.search("noise", folder=[drawn], series=False)
    found = site.desk.ask(lambda library: library.frames.get(shown(gallery)))
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
    frames = site.desk.ask(lambda library: library.frames.get(range(1, 99)))
    (mr,) = [frame for frame in frames.values() if frame.path.endswith("MR_small.dcm")]
    found = site.desk.find(Query(like=mr.id), Conditions(per_series=False), n=99)
    assert mr.id not in [number for number, _ in found.hits]
    assert len(found.hits) == len(frames) - 1
    scores = [hit.score for _, hit in found.hits]
    assert scores == sorted(scores, reverse=True)


def test_an_uploaded_image_is_searched_for_and_not_kept(site: Site, scans: Path) -> None:
    file = site.upload(scans / "MR_small.dcm")
    path = Path(str(file["path"]))
    assert path.exists() and path.is_relative_to(site.folder)
    status, gallery, _more, _state, _chips, _upload, chip, _forget = site.call(
        "bring", [file, None, "", [], [], [], [], False, False]
    )
    assert not path.exists(), "it is deleted as soon as it is read"
    assert "MR_small.dcm" in chip and "images, the best first" in status
    found = site.desk.ask(lambda library: library.frames.get(shown(gallery)))
    assert "MR_small.dcm" in {Path(frame.path).name for frame in found.values()}, "the library has the same picture"


def test_text_and_image_together_are_their_sum(desk: Desk, scans: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.dcm"
    copy.write_bytes((scans / "MR_small.dcm").read_bytes())
    brought = read_upload(copy, tmp_path, desk.encoder)
    both = desk.find(Query("chest X-ray", Upload(brought.vector, "a")), Conditions(per_series=False), n=99)
    total = brought.vector + desk.encoder.encode_texts(["chest X-ray"])[0]
    with Library.open(desk.ask(lambda library: library.directory)) as library:
        hits = search(library, desk.encoder, vector=total, n=99, group_by="none", fold=False)
    assert [(hit.path, hit.score) for _, hit in both.hits] == [(hit.path, hit.score) for hit in hits]


@pytest.mark.parametrize(("text", "says"), [("", "Write what to look for"), ("   ", "Write what to look for")])
def test_what_cannot_be_asked_is_said_in_the_page(site: Site, text: str, says: str) -> None:
    status, _ = site.search(text)
    assert says in status and 'role="alert"' in status


def test_before_a_search_the_page_shows_what_was_indexed_last(site: Site) -> None:
    components = {c["props"].get("elem_id"): c["props"] for c in site.ask("/config").json["components"]}
    start = shown(components["roco-gallery"]["value"])
    frames = site.desk.ask(lambda library: library.frames.get(library.embedded()[::-1].tolist()))
    series: dict[object, int] = {}
    for number, frame in frames.items():
        series.setdefault(frame.series or frame.case or frame.path, number)
    assert start == list(series.values())[:PAGE]
    assert "not stated" not in components["roco-gallery"]["value"], "the model says what the headers do not"
    every = [[], [], [], [], False, False]
    status, gallery, *_ = site.call("refine", [None, "", *every])
    assert shown(gallery) == list(frames)[:PAGE] and "indexed last" in status
    status, gallery, *_ = site.call("go_on", [None])
    assert shown(gallery) == list(frames)[: 2 * PAGE]
    status, gallery, *_ = site.call("refine", [None, "", ["CT"], *every[1:]])
    assert shown(gallery) == [number for number, frame in frames.items() if frame.modality == "CT"][:PAGE]
