"""``roco model …`` as a person meets it."""

# ruff: noqa: F811 - pytest's fixtures are asked for by their names

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roco_search.cli.commands.model import model_app
from roco_search.models.catalogue import installed, registry
from tests.cli.conftest import Roco
from tests.hub.hub_server import Hub, Repository
from tests.models.conftest import clip_folder, hub, models  # noqa: F401
from tests.test_network import PROGRAM

NAME = "spicy03/CLIP-ROCO-v1"


@pytest.fixture
def published(hub: Hub, clip_folder: Path) -> Repository:
    hub.repositories[NAME] = Repository.of_folder(clip_folder)
    return hub.repositories[NAME]


def test_the_examples_of_help_run(
    roco: Roco, published: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for command in model_app.registered_commands:
        (example,) = re.findall(r"^\s*Example: `roco (.*)`$", command.callback.__doc__ or "", re.MULTILINE)
        ran.append((shlex.split(example), command.name))
    order = ["list", "advise", "pull", "use", "info", "export", "import", "remove"]
    assert sorted(order) == sorted(str(name) for _, name in ran)
    for arguments, name in sorted(ran, key=lambda pair: order.index(str(pair[1]))):
        assert arguments[:2] == ["model", name]
        result = roco(*arguments)
        assert result.code == 0, result.err
        assert result.out if name in {"list", "advise", "info"} else not result.out


def test_the_list_tells_what_is_here_and_whose_word_it_is(roco: Roco, published: Repository) -> None:
    roco("model", "pull", "clip-roco")
    table = roco("model", "list")
    lines = {line.lstrip("* ").split()[0]: line for line in table.out.splitlines()[1:]}
    assert lines["roco-mini"].startswith("*")
    assert re.search(r"clip-roco +yes +mit +\d+ KB +32 +20 +figures", lines["clip-roco"])
    assert re.search(r"pubmedclip +no +MIT +605 MB +224 +77 +figures", lines["pubmedclip"])
    assert re.search(r"medsiglip +gated .*3.5 GB +448 +64 +chest", lines["medsiglip"])
    assert re.search(r"biomedclip +no +MIT +784 MB +224 +256 +figures", lines["biomedclip"])
    assert "is its publisher's statement, and was not verified" in table.err
    assert "siglip2" not in lines
    assert "models for everyday pictures are not shown; add --all" in table.err
    assert "siglip2" in roco("model", "list", "--all").out
    entries = {entry["name"]: entry for entry in roco("model", "list", "--json").json}
    assert list(entries["clip-roco"]) == [
        "name", "on_disk", "default", "repository", "licence", "gated", "bytes", "image_size", "dim", "good_at", "word",
        "text_length", "layout", "baseline", "by_hand",
    ]  # fmt: skip
    assert (entries["clip-roco"]["word"], entries["roco-mini"]["word"]) == ("publisher", "measured here")
    assert (entries["clip-roco"]["on_disk"], entries["clip"]["on_disk"]) == ("models", None)


def test_pull_tells_what_came_and_what_to_do_next(roco: Roco, published: Repository, models: Path) -> None:
    done = roco("model", "pull", "clip-roco")
    assert (done.code, done.out) == (0, "")
    assert f"commit {published.commit[:12]}. Licence: mit." in done.err
    assert "'roco model use clip-roco'" in done.err
    again = roco("model", "pull", NAME, "--json")
    assert again.json["already"]
    assert again.json["revision"] == published.commit
    assert again.json["directory"] == str(models / "clip-roco")
    assert roco("model", "pull", "clip-roco", "--quiet").err == ""
    facts = roco("model", "info", "clip-roco", "--json").json
    assert (facts["revision"], facts["repository"], facts["licence"]) == (published.commit, NAME, "mit")
    shown = roco("model", "info", "clip-roco").out
    assert facts["fingerprint"] in shown
    assert re.search(r"text to image +8,176 +5.94 +16.01 +23.29 +publisher +ROCO, test", shown)
    assert [figure["pool"] for figure in facts["retrieval"]] == [8176, 8176]


def test_a_pull_that_is_killed_goes_on_where_it_was(
    roco: Roco, published: Repository, hub: Hub, models: Path, clip_folder: Path
) -> None:
    hub.stall_after = {"model.safetensors": 40_000}
    pulling = subprocess.Popen(
        [sys.executable, "-m", "roco_search", "model", "pull", "clip-roco"], stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 60
        while sum(part.stat().st_size for part in models.rglob("model.safetensors.part")) < 40_000:
            assert time.monotonic() < until
            assert pulling.poll() is None, pulling.stderr and pulling.stderr.read()
            time.sleep(0.05)
    finally:
        pulling.send_signal(signal.SIGKILL)
        pulling.communicate()
    assert installed.installed_names() == []
    assert roco("model", "info", "clip-roco").code == 1
    hub.asked.clear()
    assert roco("model", "pull", "clip-roco").code == 0
    assert hub.asked[-1][2] == "bytes=40000-"
    assert registry.find("clip-roco").fingerprint == registry.find(clip_folder).fingerprint


def test_new_libraries_take_the_model_that_was_set(
    roco: Roco, published: Repository, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roco("model", "pull", "clip-roco", "-q")
    said = roco("model", "use", "clip-roco").err
    assert "clip-roco is now the default for new libraries." in said
    assert roco("index", scans, "--json").json["model"] == "clip-roco"
    monkeypatch.setenv("ROCO_MODEL", "roco-mini")
    assert "ROCO_MODEL is set to roco-mini and takes precedence" in roco("model", "use", "clip-roco").err
    assert roco("index", scans, "--json", "--library", scans.parent / "second").json["model"] == "roco-mini"


def test_what_is_published_of_a_model_is_shown_before_it_is_here(roco: Roco) -> None:
    shown = roco("model", "info", "pmc-vit-l-448")
    assert shown.code == 1
    assert "luhuitong/CLIP-ViT-L-14-448px-MedICaT-ROCO" in shown.out
    assert re.search(r"image to text +8,785 +67.48 +publisher +ROCO, validation", shown.out)
    assert "pool" in shown.out and "not on this disk" in shown.err and "roco model pull pmc-vit-l-448" in shown.err
    facts = roco("model", "info", "biomedclip", "--json").json
    assert (facts["on_disk"], facts["retrieval"][0]["word"], facts["licence"]) == (None, "others", "MIT")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["pull", "nothing"], 1, "write its org/name"),
        (["pull", "org/nothing"], 1, "The hub has no model org/nothing"),
        (["pull", "medclip"], 1, "take clip-roco"),
        (["pull", "chexzero"], 1, "shared drive"),
        (["pull", "clip-roco", "--revision", "v9"], 1, "no such revision"),
        (["use", "clip"], 1, "roco model pull clip"),
        (["info", "nowhere"], 1, "There is no model 'nowhere'"),
        (["remove", "roco-mini"], 1, "cannot be removed"),
        (["remove", "clip"], 1, "see 'roco model list'"),
        (["export", "clip", "clip.zip"], 1, "roco model pull clip"),
        (["export", "roco-mini", "scans"], 1, "is a folder"),
        (["import", "scans/notes.txt"], 1, "is not what 'roco model export' wrote"),
        (["import", "nowhere.zip"], 1, "is not a file"),
        (["pull"], 2, "is missing"),
        (["fetch"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_sentence(
    roco: Roco, published: Repository, scans: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int,
    says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(scans.parent)
    result = roco("model", *arguments)
    assert (result.code, result.out) == (code, "")
    words = " ".join(result.err.replace("│", " ").split())
    assert says in words
    if code == 1:
        assert result.err.splitlines()[-1].startswith("Error: ")
        assert len(result.err.splitlines()) == 1 + (arguments[0] == "pull")


@pytest.mark.slow
def test_every_command_but_pull_stays_on_this_machine(models: Path, clip_folder: Path, tmp_path: Path) -> None:
    hook = PROGRAM.split("if sys.argv[1]")[0]
    file = tmp_path / "small.zip"
    commands = [
        ["list"], ["info", "roco-mini"], ["export", str(clip_folder), str(file)],
        ["import", str(file), "--name", "org/small"], ["use", "org/small"], ["info", "org/small"], ["list", "--json"],
        ["remove", "org/small", "--force"],
    ]  # fmt: skip
    loop = f"""
from roco_search.cli import app
for arguments in {commands!r}:
    app(["model", *arguments], standalone_mode=False)
from roco_search.models import load_encoder
load_encoder({str(clip_folder)!r}, "cpu").encode_texts(["chest"])
try:
    app(["model", "pull", "clip-roco"], standalone_mode=False)
finally:
    os.write(2, b"NOT CAUGHT")
"""
    done = subprocess.run(
        [sys.executable, "-c", hook + loop], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert "org/small was removed" in done.stderr, done.stderr
    assert done.stderr.count("NETWORK") == 1, "only pull, and the hook sees it"
    assert done.returncode == 99


def test_advice_for_a_library_and_for_none(roco: Roco, scans: Path, tmp_path: Path) -> None:
    none = roco("model", "advise", "--json").json
    assert (none["images"], none["model"], none["commands"][-1]) == (
        1000,
        None,
        f"roco model use {none['take']['name']}",
    )
    roco("index", scans, "--library", tmp_path / "own library")
    found = roco("model", "advise", "--library", tmp_path / "own library", "--commercial", "--json").json
    assert (found["take"]["name"], found["model"]) == ("biomedclip", "roco-mini")
    assert found["commands"] == [
        "roco model pull biomedclip", f"roco index --reembed --model biomedclip --library '{tmp_path / 'own library'}'",
    ]  # fmt: skip
    shown = roco("model", "advise", "--library", tmp_path / "own library", "--commercial")
    assert "take     biomedclip" in shown.out and "roco model pull biomedclip" in shown.out
    assert re.search(r"\* +roco-mini .*research-only +not for commercial use", shown.out)
    assert "none at" in roco("model", "advise", "--library", tmp_path / "missing").out
    assert "No model has the licence 'GPL'" in roco("model", "advise", "--licence", "GPL").err
