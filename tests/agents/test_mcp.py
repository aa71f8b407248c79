"""An agent searches, compares and classifies through the official client, and gets nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roco_search.agents.functions import HIT_FIELDS, Functions
from roco_search.curation.cohorts.cohort import Definition, gather
from roco_search.curation.cohorts.shelf import SHELF
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.probe.applying import apply
from roco_search.probe.shelf import SHELF as PROBES
from roco_search.search import read
from roco_search.web.backend import Desk
from tests.imaging.drawing import shipped
from tests.planted import canaries
from tests.probe.drawing import drawn

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="the package mcp is not installed")

TOOLS = {"search_images", "similar_images", "classify_image", "library_status", "list_cohorts", "show_cohort"}
TOOLS |= {"list_probes", "apply_probe"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of scans whose headers name somebody, with captions that do too, and files outside of it."""
    folder = tmp_path_factory.mktemp("agents")
    scans = folder / "scans"
    scans.mkdir()
    planter = canaries().Planter()
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm")):
        assert planter.dicom(Path(shipped(name)), scans / name, 2 * number)
    Image.linear_gradient("L").save(scans / "ramp.png")
    (scans / "captions.csv").write_text(f"file_name,text\nramp.png,chest X-ray of Wolkenbruch {planter.word()}\n")
    Image.radial_gradient("L").save(folder / "outside.png")
    (scans / "link.png").symlink_to(folder / "outside.png")
    with Library.create_or_open(folder / "library") as library:
        library.index([scans], load_encoder("roco-mini"), captions=True)
        SHELF.keep(library, gather(library, "mine", Definition(under=(str(scans),))))
        PROBES.keep(library, drawn(library))
        library.remove(folder / "outside.png")  # the link is still in the folder, and leads out of it
    return folder


@pytest.fixture(scope="module")
def desk(place: Path) -> Iterator[Desk]:
    with Desk(place / "library", load_encoder("roco-mini")) as desk:
        yield desk


def asked(functions: Functions, *calls: tuple[str, dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """The tools of a server, and its answers, through the official client in this process."""
    from mcp import Client

    from roco_search.agents.mcp_server import make_server

    async def ask() -> tuple[list[Any], list[Any]]:
        async with Client(make_server(functions)) as client:
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(ask())


def read_with_captions(desk: Desk) -> str:
    understood = desk.ask(lambda library: read(library, ["chest of Wolkenbruchh"]))
    return "" if understood is None else understood.line


def refusal(answer: Any) -> str:
    assert answer.is_error
    return str(answer.content[0].text)


def test_an_agent_finds_compares_and_classifies(place: Path, desk: Desk) -> None:
    tools, [found, status] = asked(
        Functions(desk), ("search_images", {"text": "head CT", "n": 5}), ("library_status", {})
    )
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.annotations.read_only_hint and not tool.annotations.destructive_hint for tool in tools)
    hits = found.structured_content["hits"]
    assert hits[0]["modality"] == "CT" and hits[0]["match"] in {"strong", "fair", "weak", "none"}
    assert hits[0]["path"] == str(place / "scans" / "CT_small.dcm")
    assert all(set(hit) == {"id", "path", *HIT_FIELDS} for hit in hits)
    assert found.structured_content["understood"]
    assert status.structured_content["images"] == 3
    assert status.structured_content["folders"][0]["path"] == str(place / "scans")

    labels = {"labels": ["CT", "MRI", "chest X-ray"]}
    _, [near, by_id, by_path, both] = asked(
        Functions(desk),
        ("similar_images", {"image_id": hits[0]["id"], "n": 2}),
        ("classify_image", labels | {"image_id": hits[0]["id"]}),
        ("classify_image", labels | {"path": hits[0]["path"]}),
        ("classify_image", {"labels": ["CT", "MRI"], "image_id": hits[0]["id"], "multi_label": True}),
    )
    assert [hit["id"] for hit in near.structured_content["hits"]] != [hits[0]["id"]]
    assert hits[0]["id"] not in {hit["id"] for hit in near.structured_content["hits"]}
    first, again = (answer.structured_content["labels"] for answer in (by_id, by_path))
    assert first[0]["label"] == "CT" and sum(label["probability"] for label in first) == pytest.approx(1)
    assert [label["label"] for label in first] == [label["label"] for label in again], "the vector is of that file"
    assert both.structured_content["mode"] == "multi-label"


def test_what_is_outside_and_what_would_write_is_refused(place: Path, desk: Desk) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place / "library").iterdir()}
    outside = [
        str(place / "outside.png"),
        str(place / "scans" / "link.png"),
        str(place / "scans" / ".." / "outside.png"),
        str(place / "scans"),
        str(place / "scans-of-others" / "a.png"),
        "/etc/passwd",
        "a\0b",
        "",
    ]
    calls = [("classify_image", {"labels": ["CT", "MRI"], "path": path}) for path in outside]
    _, answers = asked(Functions(desk), *calls)
    sentences = [refusal(answer) for answer in answers]
    assert all("inside" in said or "no such file" in said for said in sentences)
    assert len({*sentences[:3], sentences[4]}) == 1, "what does not exist outside is answered like what does"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("index", {"paths": ["/"]}),
        ("show_image", {"image_id": 1}),
        ("similar_images", {"image_id": 10**30}),
        ("similar_images", {"image_id": -1}),
        ("search_images", {"text": " "}),
        ("search_images", {"text": "x" * 100_000}),
        ("search_images", {"text": "CT", "n": 10**9}),
        ("search_images", {"text": "CT", "modality": ["no such"]}),
        ("classify_image", {"labels": [], "image_id": 1}),
        ("classify_image", {"labels": ["CT", "MRI"]}),
    ]
    for name, arguments in wrong:
        try:
            _, [answer] = asked(Functions(desk), (name, arguments))
        except Exception as error:
            assert name in {"index", "show_image"}, error
        else:
            assert "Traceback" not in refusal(answer)
    assert {path: path.stat().st_mtime_ns for path in (place / "library").iterdir()} == before


def test_paths_pixels_and_patients_stay_where_they_are_not_allowed(place: Path, desk: Desk) -> None:
    known = Functions(desk).search("head CT", n=1)["hits"][0]["id"]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("search_images", {"text": "chest X-ray", "n": 9, "guess": True}),
        ("similar_images", {"image_id": known}),
        ("library_status", {}),
        ("list_cohorts", {}),
        ("show_cohort", {"name": "mine"}),
        ("classify_image", {"labels": ["CT", "MRI"], "path": str(place / "scans" / "ramp.png")}),
        ("list_probes", {}),
        ("apply_probe", {"name": "told", "label": "two", "n": 2}),
        ("classify_image", {"labels": ["CT", "MRI"], "path": str(place / "outside.png")}),
        ("classify_image", {"labels": ["CT", "MRI"], "path": str(place / "scans" / "captions.csv")}),
    ]
    calls.append(("search_images", {"text": "chest of Wolkenbruchh"}))
    understood = read_with_captions(desk)
    assert "wolkenbruch" in understood.lower(), "roco query would say so"
    _, redacted = asked(Functions(desk, redact_paths=True), *calls)
    _, plain = asked(Functions(desk), *calls)
    written = "".join(answer.model_dump_json() for answer in redacted)
    assert str(place) not in written and "ramp" not in written and "scans" not in written
    assert not any(answer.is_error for answer in redacted[:8]), "what is asked is answered"
    _, [listed, mine, none] = asked(
        Functions(desk),
        ("list_cohorts", {}),
        ("show_cohort", {"name": "mine", "n": 2}),
        ("show_cohort", {"name": "../x"}),
    )
    [named] = listed.structured_content["cohorts"]
    assert (named["name"], named["images"]) == ("mine", 4)
    assert mine.structured_content["in_library"] == 3 and len(mine.structured_content["members"]) == 2
    assert mine.structured_content["members"][0]["path"].startswith(str(place / "scans"))
    assert "cannot be the name" in refusal(none)
    probes, applied = (answer.structured_content for answer in plain[6:8])
    assert probes["probes"][0]["usable"] and probes["probes"][0]["labels"][1]["auc"] == [0.9, 0.8, 0.95]
    shares = [hit["probability"] for hit in applied["hits"]]
    assert shares == sorted(shares, reverse=True) and applied["images"] == 3 and len(shares) == 2
    found = desk.ask(lambda library: apply(library, drawn(library)).probabilities[:, 1])
    assert shares == pytest.approx(sorted(found.tolist(), reverse=True)[:2])
    assert applied["given"] == int((found >= 0.5).sum())
    _, [several] = asked(Functions(desk), ("apply_probe", {"name": "told"}))
    assert "name one as NAME:LABEL" in refusal(several)
    assert "wolkenbruch" not in written.lower().replace("wolkenbruchh", ""), "nor is a name spelt right"
    everything = written + "".join(answer.model_dump_json() for answer in plain)
    assert canaries().MARK.lower() not in everything.lower(), "nothing of a header or a caption"
    assert not re.search(r"[A-Za-z0-9+/]{400}", everything), "no pixels"

    tools, [picture] = asked(Functions(desk, allow_images=True), ("show_image", {"image_id": known}))
    assert {tool.name for tool in tools} == TOOLS | {"show_image"}
    [content] = picture.content
    assert content.type == "image" and content.mime_type == "image/png"


def test_a_refusal_names_no_path_where_these_are_redacted(place: Path, desk: Desk) -> None:
    damaged = place / "library" / "cohorts" / "damaged.json"
    damaged.write_text("{")
    try:
        for redact in (True, False):
            _, [answer] = asked(Functions(desk, redact_paths=redact), ("show_cohort", {"name": "damaged"}))
            assert (str(place) in refusal(answer)) is not redact
    finally:
        damaged.unlink()


def test_a_client_starts_it_as_a_process(place: Path) -> None:
    """Standard output has nothing but the protocol on it, or the client would fail."""
    from mcp import Client, StdioServerParameters

    variables = {name: os.environ[name] for name in ("PATH", "HOME", "ROCO_CACHE") if name in os.environ}
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "roco_search", "mcp", "--library", str(place / "library"), "--redact-paths"],
        env=variables | {"PYTHONPATH": str(ROOT)},
    )

    async def ask() -> Any:
        async with Client(server) as client:
            return await client.call_tool("search_images", {"text": "brain MRI"})

    [hit, *_] = asyncio.run(ask()).structured_content["hits"]
    assert hit["modality"] == "MR" and "path" not in hit
    assert json.dumps(hit).find(str(place)) == -1
