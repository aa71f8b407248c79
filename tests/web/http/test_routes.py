"""Images come by id: rendered, private, and nothing else than what the library holds."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roco_search.errors import UnreadableImage
from roco_search.imaging import Slices, Window, open_image
from roco_search.imaging.preprocess import Preprocessing
from roco_search.library import Library, StoredFrame
from roco_search.models import load_encoder
from roco_search.models.catalogue.registry import EMBEDDED
from roco_search.web.asking import Conditions, Query
from roco_search.web.backend import Desk
from roco_search.web.http.pictures import PictureCache, as_seen, sight
from roco_search.web.http.routes import picture
from tests.concepts import ConceptEncoder
from tests.imaging.test_ct_windows import WINDOWS, by_hand, draw_ct
from tests.imaging.test_volumes import REAL, series, write_series
from tests.web.conftest import Site, serve


def ids(desk: Desk) -> dict[str, int]:
    """Frame ids by file name."""
    frames = desk.ask(lambda library: library.frames.get(range(1, 99)))
    return {Path(frame.path).name: frame.id for frame in frames.values()}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)


def test_a_picture_is_the_rendered_frame(site: Site, scans: Path) -> None:
    number = ids(site.desk)["693_J2KI.dcm"]
    answer = site.ask(f"/roco/image/{number}.jpg?size=1280")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    whole = next(open_image(scans / "693_J2KI.dcm")).pixels.astype(np.int16)
    assert abs(pixels(answer.body) - whole).mean() < 2
    small = site.ask(f"/roco/image/{number}.jpg?size=160")
    assert Image.open(io.BytesIO(small.body)).size == (160, 160)
    assert not Image.open(io.BytesIO(small.body)).getexif()


def test_a_window_is_applied_to_it(site: Site, scans: Path) -> None:
    number = ids(site.desk)["CT_small.dcm"]
    facts = site.ask(f"/roco/image/{number}.json").json
    assert facts["levels"]["unit"] == "HU" and "lung" in facts["levels"]["presets"]
    answer = site.ask(f"/roco/image/{number}.jpg?size=1280&center=-600&width=1500")
    shown = next(open_image(scans / "CT_small.dcm", window=Window(-600, 1500))).pixels.astype(np.int16)
    assert abs(pixels(answer.body) - shown).mean() < 3
    for query in ("size=1280&center=5", "size=5", "center=1&width=-4", "center=nan&width=2", "center=x&width=2"):
        assert site.ask(f"/roco/image/{number}.jpg?{query}").status == 422


def test_overlays_are_drawn_for_those_who_ask(site: Site, scans: Path) -> None:
    known = ids(site.desk)
    assert not site.ask(f"/roco/image/{known['CT_small.dcm']}.json").json["overlays"]
    number = known["examples_overlay.dcm"]
    assert site.ask(f"/roco/image/{number}.json").json["overlays"]
    plain, drawn = (
        next(open_image(scans / "examples_overlay.dcm", overlays=overlays)).pixels.astype(np.int16)
        for overlays in (False, True)
    )
    assert (plain != drawn).any()
    for query, expected in (("", plain), ("&overlays=1", drawn), ("&overlays=0", plain)):
        answer = site.ask(f"/roco/image/{number}.jpg?size=1280{query}")
        assert abs(pixels(answer.body) - expected).mean() < 2


def test_a_picture_can_be_seen_as_the_model_saw_it(site: Site, tmp_path: Path) -> None:
    known = ids(site.desk)
    number = known["CT_small.dcm"]
    assert site.ask(f"/roco/image/{number}.json").json["seen"] == "192 × 192 pixels"
    assert site.ask("/roco/image/98765.png").status == 404
    answer = site.ask(f"/roco/image/{number}.png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    shown, encoder = pixels(answer.body), load_encoder("roco-mini", "cpu")
    levels = Preprocessing.from_directory(EMBEDDED).levels()
    given = np.stack([levels[channel][shown[..., channel]] for channel in range(3)])
    stored = site.desk.ask(lambda library: library.embedding(number))
    assert stored is not None and float(encoder.exact(given[None])[0] @ stored) > 0.99999  # type: ignore[attr-defined]


def test_ct_is_then_shown_in_the_windows_that_the_model_states(site: Site, tmp_path: Path) -> None:
    ct, hounsfield = draw_ct(tmp_path / "ct.dcm")
    frame = site.desk.frame(ids(site.desk)["CT_small.dcm"])
    assert frame is not None
    encoder = TakesWindows()
    assert (
        sight(encoder) == "64 × 64 pixels. CT in windows of width/centre in HU: red 2250/-100, green 350/40, blue 80/40"
    )
    assert np.abs(pixels(as_seen(replace(frame, path=str(ct)), encoder)) - by_hand(hounsfield)).max() <= 1
    assert sight(ConceptEncoder()) is None
    with pytest.raises(UnreadableImage, match="cannot be shown"):
        as_seen(replace(frame, path=str(ct)), ConceptEncoder())


class TakesWindows(ConceptEncoder):
    """Takes CT in three windows, at 64 pixels."""

    ct_windows = WINDOWS

    def fit_image(self, image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((64, 64)))


@REAL
def test_volumes_and_archives_are_found_and_shown_as_the_dicom_they_were_made_of(tmp_path: Path) -> None:
    slices = series("dcm_qa_ct", "AXIAL")
    scans = tmp_path / "scans"
    scans.mkdir()
    for kind in ("ct.nii.gz", "ct.nrrd", "ct.mha"):
        write_series(scans / kind, slices)
    write_series(scans / "mr.nii.gz", series("dcm_qa_mr", "SAGITTAL"))
    with zipfile.ZipFile(scans / "export.zip", "w") as archive:
        for number, one in enumerate(slices):
            archive.write(one.filename, f"DICOM/IM{number:04}")
    encoder = load_encoder("roco-mini", "cpu")
    with Library.create_or_open(tmp_path / "library") as library:
        library.index([scans], encoder, slices=Slices(3))
    window = Window(35, 80)
    with Desk(tmp_path / "library", encoder) as desk:
        hits = desk.find(Query("CT of the head"), Conditions(per_series=False), n=99).hits
        found = [frame for number, _ in hits if (frame := desk.frame(number)) is not None]
        assert {Path(hit.path).name for hit in found} >= {"ct.nii.gz", "ct.nrrd", "ct.mha", "mr.nii.gz", "IM0008"}
        cache = PictureCache(tmp_path / "pictures")
        compared = 0
        for hit in found:
            if (place := place_in_series(hit)) is not None:
                shown, kind, status = picture(desk, cache, hit.id, 1280, window, False)
                assert (kind, status) == ("image/jpeg", 200)
                right = next(open_image(slices[place].filename, window=window)).pixels.astype(np.int16)
                assert abs(pixels(shown) - right).mean() < 2
                compared += 1
        assert compared == 3 * 3 + len(slices)


def place_in_series(frame: StoredFrame) -> int | None:
    """Which slice of the CT a hit shows, by its number from the feet."""
    name = Path(frame.path).name
    if name.startswith("ct.") and frame.view == "AXIAL" and frame.instance_number is not None:
        return frame.instance_number - 1
    return int(name[2:]) if name.startswith("IM") else None


def test_what_is_known_of_a_picture_and_its_neighbours(site: Site) -> None:
    known = ids(site.desk)
    facts = site.ask(f"/roco/image/{known['series-17136']}.json").json
    assert (facts["name"], facts["modality"], facts["rows"]) == ("series-17136", "CT", 16)
    drawn = site.ask(f"/roco/image/{known['0.png']}.json").json
    assert set(drawn["guessed"]) == {"modality", "body_part"} and "modality" not in facts["guessed"]
    series = {number for name, number in known.items() if name.startswith("series-")}
    assert facts["beside"]["kind"] == "series" and facts["beside"]["count"] == len(series) == 4
    assert set(facts["beside"]["ids"]) == series
    order = [site.ask(f"/roco/image/{number}.json").json["instance"] for number in facts["beside"]["ids"]]
    assert order == sorted(order)
    drawn = site.ask(f"/roco/image/{known['3.png']}.json").json
    assert drawn["beside"]["kind"] == "folder" and drawn["beside"]["count"] == 14
    assert drawn["levels"] is None
    # The path is there to be copied, and nowhere else.
    assert (facts.pop("path"), drawn.pop("path")) == (
        str(site.scans / "series-17136"), str(site.scans / "drawn" / "3.png"),
    )  # fmt: skip
    assert str(site.scans) not in str(facts) + str(drawn)


@pytest.mark.parametrize("path", ["/roco/image/99999.jpg", "/roco/image/0.jpg", "/roco/image/99999.json"])
def test_an_id_that_is_none_is_not_found(site: Site, path: str) -> None:
    assert site.ask(path).status == 404


def test_a_file_that_is_gone_says_so_in_its_place(tmp_path: Path) -> None:
    picture = tmp_path / "scans" / "a.png"
    picture.parent.mkdir()
    Image.linear_gradient("L").save(picture)
    with Library.create_or_open(tmp_path / "library") as library:
        library.index([picture.parent], load_encoder("roco-mini", "cpu"))
    (tmp_path / "scratch").mkdir()
    with (
        Desk(tmp_path / "library", load_encoder("roco-mini", "cpu")) as desk,
        serve(desk, tmp_path / "scratch", picture.parent) as site,
    ):
        assert site.ask("/roco/image/1.jpg").status == 200
        picture.unlink()
        gone = site.ask("/roco/image/1.jpg")
        assert (gone.status, gone.headers["content-type"]) == (404, "image/svg+xml")
        assert b"<svg" in gone.body and str(tmp_path).encode() not in gone.body
        assert site.ask("/roco/image/1.json").json["levels"] is None


def test_thumbnails_are_kept_privately_within_bounds_and_follow_their_file(tmp_path: Path, desk: Desk) -> None:
    path = tmp_path / "a.png"
    chance = np.random.default_rng(0)
    frames = []
    for number in range(4):
        one = tmp_path / f"{number}.png"
        Image.fromarray(chance.integers(0, 256, (200, 200), dtype=np.uint8)).save(one)
        (frame,) = desk.ask(lambda library: library.frames.get([1])).values()
        frames.append(
            type(frame)(**{**{n: getattr(frame, n) for n in frame.__slots__}, "id": number, "path": str(one)})
        )
    cache = PictureCache(tmp_path / "kept", most=60_000)
    first = cache.picture(frames[0], 160)
    assert cache.picture(frames[0], 160) == first
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert all(kept.stat().st_mode & 0o777 == 0o600 for kept in (tmp_path / "kept").iterdir())
    for frame in frames * 2:
        cache.picture(frame, 160)
    assert 0 < sum(kept.stat().st_size for kept in (tmp_path / "kept").iterdir()) <= 60_000
    shutil.copy(tmp_path / "1.png", path)
    shutil.copy(tmp_path / "1.png", frames[0].path)
    assert cache.picture(frames[0], 160) != first, "a file that changed is another picture"
    shutil.rmtree(tmp_path / "kept")
    assert cache.picture(frames[2], 160), "without a place to keep it, it is shown all the same"


def test_the_map_has_every_picture_once(site: Site) -> None:
    found = site.ask("/roco/map.json?method=pca&guess=true").json
    frames = site.desk.ask(lambda library: library.frames.get(range(1, 99)))
    assert found["ids"] == sorted(frames) and len(found["x"]) == len(found["y"]) == len(frames)
    for colouring in found["colourings"].values():
        assert sum(colouring["counts"]) == len(colouring["of"]) == len(frames)
        assert len(colouring["names"]) == len(colouring["colours"])
    assert "drawn" in found["colourings"]["folder"]["names"]
    assert found["regions"] and all(0 <= one["x"] <= 1 and one["name"] for one in found["regions"])
    packed = site.ask("/roco/map.json?method=pca&guess=true", Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip" and json.loads(gzip.decompress(packed.body)) == found
    refused = site.ask("/roco/map.json?method=tsne")
    assert refused.status == 422 and "umap or pca" in refused.json["detail"]


def test_names_can_be_hidden(indexed: Path, tmp_path: Path, scans: Path) -> None:
    with (
        Desk(indexed, load_encoder("roco-mini", "cpu"), redact_paths=True) as desk,
        serve(desk, tmp_path, scans) as site,
    ):
        number = ids(desk)["CT_small.dcm"]
        everything = [site.ask(f"/roco/image/{number}.json").body, site.ask("/roco/map.json").body, site.ask("/").body]
        everything += [part.encode() for part in site.search("CT")]
        assert not [data for data in everything if b"CT_small" in data or b"drawn" in data]
        assert re.fullmatch(r"[0-9a-f]{12}", site.ask(f"/roco/image/{number}.json").json["name"])


def test_a_picture_that_is_yet_to_be_drawn_waits_for_a_search(site: Site, tmp_path: Path) -> None:
    frame = next(iter(site.desk.ask(lambda library: library.frames.get(range(1, 99))).values()))
    cache = PictureCache(tmp_path / "pictures", give_way=partial(site.desk.precedence.give_way, 600))
    with ThreadPoolExecutor(1) as thread:
        with site.desk.precedence.search():
            waiting = thread.submit(cache.picture, frame, 160)
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            with site.desk.precedence.search():
                pass
            assert not waiting.done(), "another search is still being answered"
        drawn = waiting.result(60)
    with site.desk.precedence.search():
        assert cache.picture(frame, 160) == drawn, "one that is kept comes at once"
