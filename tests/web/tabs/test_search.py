"""The Search tab without a browser: what its events are answered is what the library answers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.errors import InputError
from roco_search.imaging import Tags
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.search import Filters, search
from roco_search.web.asking import MOST_SHOWN, PAGE, Conditions, Query, read_address, write_address
from roco_search.web.backend import Desk
from roco_search.web.brought import MOST, SECONDS, Brought, Upload
from roco_search.web.http.uploads import UploadedImage, read_upload
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
    assert f"{PAGE} of" in status
    scores = re.findall(r"<b>(-?[\d.]+)</b>", gallery)
    assert scores == [f"{score:.3f}" for *_, score in expected(indexed, "brain MRI")]


def test_filters_are_what_the_library_holds_and_they_filter(site: Site, indexed: Path) -> None:
    components = {c["props"].get("elem_id"): c["props"] for c in site.ask("/config").json["components"]}
    choices = components["roco-modality"]["choices"]
    counts = site.desk.ask(lambda library: library.frames.count_terms("modality"))
    said = {"MR": "MRI", "CT": "CT", "US": "ultrasound"}
    assert [term for _, term in choices] == list(counts)
    assert all(label == f"{said[term]} ({counts[term]})" for label, term in choices if term in said)
    assert len({label.partition(" (")[0] for label, _ in choices}) == len(choices), "CR and DX are both X-ray"
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
    status, gallery, _state, _chips, _start, _upload, chip, _forget = site.call(
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


def test_an_opened_page_shows_the_library_as_it_is_then_in_the_order_that_its_address_has(site: Site) -> None:
    frames = site.desk.ask(lambda library: library.frames.get(library.embedded()[::-1].tolist()))
    series: dict[object, int] = {}
    for number, frame in frames.items():
        series.setdefault(frame.series or frame.case or frame.path, number)
    status, gallery, *_, start = site.open("")[:5]
    assert shown(gallery) == list(series.values())[:PAGE] and "last indexed" in status
    assert "CT_small" in gallery and "not stated" not in gallery, "the model says the rest"
    assert re.search(r">CT · [a-z ]+[?]</span>", gallery), "and only what it says is marked"
    suggested = re.findall(r'href="[?]q=([^"]+)"', start)
    assert "pleural+effusion" in suggested, "the caption of one says so"
    assert any("MRI" in text for text in suggested) and any("CT" in text for text in suggested)
    _, gallery, *_ = site.open("every=1&order=folder")
    paths = [frames[number].path for number in shown(gallery)]
    assert [Path(path).parent for path in paths] == sorted(Path(path).parent for path in paths)
    headings = re.findall(r'data-heading="([^"]+)"', gallery)
    assert len(headings) == len(set(headings)) == len({Path(path).parent for path in paths})
    _, gallery, *_ = site.open("every=1&order=kind")
    kinds = [kind.replace("?", "") for kind in re.findall(r'roco-facts"><span[^>]*>([^<]*)</span>', gallery)]
    assert kinds == sorted(kinds), "by modality, then by body part"


def test_an_address_is_the_search_and_the_route_goes_on_where_the_page_ends(site: Site, indexed: Path) -> None:
    _, gallery, *rest = site.open("q=head+CT&every=1&unknown=1")
    (address,) = re.findall(r'data-address="([^"]*)"', gallery)
    assert address == "q=head+CT&amp;every=1" and "head CT" in rest, "and the words stand in the box"
    first, then = shown(gallery), site.ask(f"/roco/hits.json?q=head+CT&every=1&from={PAGE}").json
    frames = site.desk.ask(lambda library: library.frames.get([*first, *shown(then["cards"])]))
    wanted = [(path, number) for path, number, _ in expected(indexed, "head CT", 2 * PAGE)]
    assert [(frame.path, frame.frame) for frame in frames.values()] == wanted
    assert then["said"].startswith(f"{len(wanted)} of") and then["more"] is False
    _, gallery, *_ = site.open(f"q=head+CT&every=1&shown={len(wanted)}")
    assert shown(gallery) == [*first, *shown(then["cards"])], "what was shown is shown again"
    _, gallery, *_ = site.open("modality=CT&every=1")
    found = site.desk.ask(lambda library: library.frames.get(library.embedded()[::-1].tolist()))
    assert shown(gallery) == [number for number, frame in found.items() if frame.modality == "CT"][:PAGE]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("like=99999999", "no longer in the library"),
        ("like=x", "not one that the page wrote"),
        ("upload=gone", "no longer kept"),
        ("modality=XX", "XX"),
        ("folder=/etc", "no longer has that folder"),
    ],
)
def test_an_address_that_leads_nowhere_says_so(site: Site, address: str, says: str) -> None:
    status, gallery, *_ = site.open(address)
    assert says in status and 'role="alert"' in status and not shown(gallery)
    assert site.ask(f"/roco/hits.json?{address}").status == 422


def test_a_region_of_an_upload_is_what_is_searched_for_and_back_finds_the_whole(site: Site, scans: Path) -> None:
    answer = site.call("bring", [site.upload(scans / "CT_small.dcm"), None, "", [], [], [], [], False, False])
    (whole,) = re.findall(r"upload=([\w-]+)", answer[1])
    upload = site.desk.brought.find(whole)
    _, gallery, *_ = site.call("heard", [None], event_data={"region": [0.25, 0.25, 0.5, 0.5]})
    (part,) = re.findall(r"upload=([\w-]+)", gallery)
    assert upload.pixels is not None and part != whole
    rows, columns = upload.pixels.shape[:2]
    cut = upload.pixels[rows // 4 : rows // 4 * 3, columns // 4 : columns // 4 * 3]
    vector = site.desk.encoder.encode_images([np.ascontiguousarray(cut)])[0]
    assert site.desk.brought.find(part).vector == pytest.approx(vector, abs=1e-6)
    _, again, *_ = site.open(f"upload={whole}&every=1")
    assert shown(again) == shown(answer[1]), "its address leads to the whole image"
    status, *_ = site.call("heard", [None], event_data={"region": [0.9, 0.9, 0.5, 0.5]})
    assert "inside the image" in status


def test_uploads_are_kept_for_an_hour_and_few_of_them(desk: Desk) -> None:
    now = [0.0]
    kept = Brought(lambda: now[0])
    image = UploadedImage(np.ones(1, np.float32), "a.png", np.zeros((64, 64, 3), np.uint8), Tags(), 0, 1)
    first = kept.keep(image)
    assert kept.find(first.token) is first
    for _ in range(MOST):
        kept.keep(image)
    with pytest.raises(InputError, match="no longer kept"):
        kept.find(first.token)
    last = kept.keep(image)
    now[0] = SECONDS + 1
    with pytest.raises(InputError, match="no longer kept"):
        kept.find(last.token)


@given(
    text=st.text(max_size=30),
    lists=st.lists(st.lists(st.text(min_size=1, max_size=8).filter(str.strip), max_size=2), min_size=4, max_size=4),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    shown=st.integers(PAGE, MOST_SHOWN),
    fed=st.lists(st.lists(st.integers(0, 10**18 - 1), max_size=3, unique=True), min_size=2, max_size=2),
)
def test_what_is_written_to_an_address_is_read_from_it(
    text: str, lists: list[list[str]], flags: tuple[bool, bool, bool], shown: int, fed: list[list[int]]
) -> None:
    modality, body_part, view, folder = map(tuple, lists)
    query = Query(text.strip(), verbatim=flags[0], plus=tuple(fed[0]), minus=tuple(fed[1]))
    conditions = Conditions(modality, body_part, view, folder, guess=flags[1], per_series=flags[2])
    assert read_address(write_address(query, conditions, shown), Brought()) == (query, conditions, shown)
