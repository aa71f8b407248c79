"""A tray goes on as paths, a table, a sheet or copies: by ids, and files only on this machine."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.curation.cohorts.cohort import members_of
from roco_search.curation.cohorts.shelf import SHELF as COHORTS
from roco_search.errors import InputError
from roco_search.models import load_encoder
from roco_search.probe.applying import apply
from roco_search.probe.feedback.sessions import SHELF
from roco_search.probe.shelf import SHELF as PROBES
from roco_search.probe.shelf import read_probe
from roco_search.web.backend import Desk
from roco_search.web.http.chosen import Chosen
from roco_search.web.marks import kept_marks
from tests.web.conftest import Answer, Site, serve


def numbers(site: Site, *names: str) -> list[int]:
    frames = site.desk.ask(lambda library: library.frames.get(range(1, 99)))
    known = {Path(frame.path).name: frame.id for frame in frames.values()}
    return [known[name] for name in names]


def send(site: Site, what: str, body: Any, **headers: str) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return site.ask(f"/roco/chosen/{what}", "POST", text, Content_Type="application/json", **headers)


def test_the_chosen_images_in_their_order(site: Site, scans: Path) -> None:
    ids = numbers(site, "MR_small.dcm", "3.png", "CT_small.dcm")
    paths = [str(scans / name) for name in ("MR_small.dcm", "drawn/3.png", "CT_small.dcm")]
    assert send(site, "paths", {"ids": [*ids, 98765, ids[0]]}).json["text"].splitlines() == paths
    rows = list(csv.DictReader(io.StringIO(send(site, "csv", {"ids": ids}).body.decode())))
    assert [(row["path"], row["modality"]) for row in rows] == list(zip(paths, ["MR", "", "CT"], strict=True))
    sheet = send(site, "sheet", {"ids": ids}).body.decode()
    assert sheet.count("data:image/jpeg") == 3 and sheet.index("MR_small") < sheet.index("CT_small")


def test_a_tray_that_was_kept_learns_what_is_still_there(site: Site) -> None:
    ids = numbers(site, "MR_small.dcm", "3.png")
    assert send(site, "names", {"ids": [ids[1], 98765, ids[0]]}).json["names"] == [
        [ids[1], "3.png"],
        [ids[0], "MR_small.dcm"],
    ]
    assert send(site, "names", {"ids": [98765]}).status == 422


def test_marks_are_kept_as_a_session_that_can_be_gone_on_with(site: Site) -> None:
    one, other, third = numbers(site, "MR_small.dcm", "3.png", "CT_small.dcm")
    address = f"q=head&plus={one}&plus={third}&minus={other}"
    said = send(site, "session", {"ids": [one], "name": "heads of mine", "address": address}).json["said"]
    assert "'heads of mine'" in said and "roco probe fit NAME --from-marks 'heads of mine'" in said
    kept = site.desk.ask(lambda library: SHELF.read(library, "heads of mine"))
    assert kept.query == ["head"] and site.desk.ask(kept.ids) == ([one, third], [other])
    assert ("heads of mine", f"?{address}") in kept_marks(site.desk)
    send(site, "session", {"ids": [one], "name": "heads of mine", "address": f"q=head&plus={other}"})
    kept = site.desk.ask(lambda library: SHELF.read(library, "heads of mine"))
    assert set(site.desk.ask(kept.ids)[0]) == {one, other, third}, "what was kept stays, a later mark counts"
    for wrong in ({"name": "heads of mine", "address": "q=knee&plus=1"}, {"name": "../x", "address": address}, {}):
        refused = send(site, "session", {"ids": [one], **wrong})
        assert refused.status == 422 and refused.json["detail"]
    like = send(site, "session", {"ids": [one], "address": f"like={one}&minus={other}"}).json["said"]
    name = like.split("'")[1]
    assert dict(kept_marks(site.desk))[name] == f"?like={one}&minus={other}"
    for own in ("heads of mine", name):
        site.desk.ask(partial(SHELF.remove, name=own))


def test_marks_become_a_probe_that_ranks_the_library(site: Site) -> None:
    yes, no = numbers(site, "0.png", "2.png", "3.png"), numbers(site, "MR_small.dcm", "CT_small.dcm", "693_J2KI.dcm")
    address = "&".join(["q=drawn", *(f"plus={one}" for one in yes), *(f"minus={one}" for one in no)])
    body = {"ids": yes, "name": "drawn things", "address": address}
    said = send(site, "probe", body).json["said"]
    assert "AUC " in said and "`roco query --probe 'drawn things'`" in said
    probe = site.desk.ask(lambda library: read_probe(library, "drawn things"))
    assert sorted(probe.learned.tolist()) == sorted([*yes, *no]) and probe.claims[0].positives == 3
    assert all(caveat in said for caveat in probe.caveats())
    shares = site.desk.ask(lambda library: apply(library, probe, probe.learned))
    ranked = shares.ids[np.argsort(-shares.probabilities[:, 0])]
    assert set(ranked[:3].tolist()) == set(yes)
    few = {"ids": yes, "name": "few", "address": f"q=drawn&plus={yes[0]}&minus={no[0]}"}
    for wrong, words in (
        (body, "choose another name"),
        (few, "label more images"),
        ({**body, "name": ""}, "name of a"),
    ):
        refused = send(site, "probe", wrong)
        assert refused.status == 422 and words in refused.json["detail"]
    assert site.desk.ask(PROBES.names) == ["drawn things"]
    site.desk.ask(partial(PROBES.remove, name="drawn things"))


def test_a_tray_becomes_a_cohort(site: Site) -> None:
    ids = numbers(site, "MR_small.dcm", "CT_small.dcm")
    said = send(site, "cohort", {"ids": ids, "name": " two of mine "}).json["said"]
    assert "2 images" in said and "`roco cohort export 'two of mine' FOLDER`" in said
    listed = site.desk.ask(lambda library: members_of(library, COHORTS.read(library, "two of mine")))
    assert {one.frame.id for one in listed} == set(ids)
    for name in ("two of mine", "", "../x"):  # never over another
        refused = send(site, "cohort", {"ids": ids[:1], "name": name})
        assert refused.status == 422 and "`overwrite" not in refused.json["detail"], name
    site.desk.ask(partial(COHORTS.remove, name="two of mine"))


def test_copies_go_to_a_folder_and_never_over_anything(site: Site, scans: Path, tmp_path: Path) -> None:
    ids = numbers(site, "MR_small.dcm", "CT_small.dcm")
    folder = tmp_path / "taken"
    said = send(site, "copy", {"ids": ids, "folder": str(folder)}).json["said"]
    assert said == f"2 files were copied to {folder}."
    assert (folder / "02_CT_small.dcm").read_bytes() == (scans / "CT_small.dcm").read_bytes()
    (folder / "01_MR_small.dcm").write_text("mine")
    again = send(site, "copy", {"ids": ids, "folder": str(folder)})
    assert again.status == 422 and "nothing is overwritten" in again.json["detail"]
    assert (folder / "01_MR_small.dcm").read_text() == "mine"
    for wrong in ("", "here", "../x", "/tmp/\0x"):
        assert send(site, "copy", {"ids": ids, "folder": wrong}).status == 422
    inside = site.desk.ask(lambda library: library.directory) / "x"
    assert send(site, "copy", {"ids": ids, "folder": str(inside)}).status == 422 and not inside.exists()


def test_nobody_else_has_a_hand_in_it(site: Site, indexed: Path, tmp_path: Path) -> None:
    ids = numbers(site, "CT_small.dcm")
    body = {"ids": ids, "folder": str(tmp_path / "x")}
    for what in ("names", "paths", "csv", "sheet", "copy", "cohort", "session", "probe"):
        assert send(site, what, body, Origin="https://elsewhere.example").status == 403
        assert site.ask(f"/roco/chosen/{what}").status == 404
    for what in ("copy", "cohort", "session", "probe"):
        assert send(site, what, body, X_Forwarded_For="10.0.0.1").status == 403
    (tmp_path / "run").mkdir()
    with (
        Desk(indexed, load_encoder("roco-mini", "cpu"), redact_paths=True) as desk,
        serve(desk, tmp_path / "run", site.scans) as hidden,
    ):
        assert send(hidden, "paths", body).status == send(hidden, "copy", body).status == 403
        shown = send(hidden, "csv", body).body + send(hidden, "sheet", body).body + send(hidden, "names", body).body
        shown += hidden.ask("/").body
        assert b"CT_small" not in shown and str(site.scans).encode() not in shown
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"ids": 3}', '{"ids": ["a"]}', '{"ids": [true]}', '{"ids": [-1]}', '{"ids": []}', "[" * 9999,
     '{"ids": [1], "folder": 7}', json.dumps({"ids": list(range(1001))})],
)  # fmt: skip
def test_a_message_names_images_by_number(body: str) -> None:
    with pytest.raises(InputError):
        Chosen.read(body.encode())
