"""``roco library``: what it says, how it exits, and that its examples run."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from roco_search.cli.commands.library import app
from tests.cli.conftest import Roco
from tests.library.toy import Opened, ToyEncoder, draw


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ./scans indexed into ./library, and nothing in the user's own data folder."""
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm", "knee.dcm")):
        draw(tmp_path / "scans" / name, number)
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(tmp_path / "scans")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examples() -> dict[str, str]:
    found = {}
    for command in app.registered_commands:
        assert command.callback is not None
        (example,) = re.findall(r"^\s*Example: `roco (.*)`$", command.callback.__doc__ or "", re.MULTILINE)
        found[command.name or command.callback.__name__] = example
    return found


COMMANDS = ["list", "remove", "verify", "merge", "vacuum", "move", "copy", "relocate"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_runs(roco: Roco, place: Path, name: str) -> None:
    assert set(examples()) == set(COMMANDS)
    if name == "merge":
        shutil.copytree(place / "library", place / "parts")
    if name == "relocate":
        (place / "scans").rename(place / "archive")
    done = roco(*shlex.split(examples()[name]))
    assert done.code == 0, done.err
    assert examples()[name].split()[:2] == ["library", name]


def test_list(roco: Roco, place: Path) -> None:
    with Opened(place / "data" / "roco" / "chest", ToyEncoder()) as opened:
        opened.index(place / "scans" / "CT_small.dcm")
    broken = place / "data" / "roco" / "broken"
    broken.mkdir()
    (broken / "library.db").write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    found = roco("library", "list", "--json").json
    assert [(Path(e["library"]).name, e["in_use"], e["images"], e["model"]) for e in found] == [
        ("library", True, 3, "toy"),
        ("broken", False, 0, None),
        ("chest", False, 1, "toy"),
    ]
    assert found[0]["bytes"] >= (place / "library" / "library.db").stat().st_size
    assert "is damaged" in found[1]["problem"]
    table = roco("library", "list").out
    assert table.splitlines()[1].split()[:2] == ["*", "3"]
    nothing = roco("library", "list", "--library", place / "nowhere")
    assert nothing.code == 0 and "nowhere" not in nothing.out


def test_list_of_nothing(roco: Roco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    empty = roco("library", "list")
    assert (empty.code, empty.out) == (0, "") and "roco index PATH" in empty.err
    assert roco("library", "list", "--json").json == []


def test_remove_says_what_it_means(roco: Roco, place: Path) -> None:
    done = roco("library", "remove", "scans/CT_small.dcm")
    assert done.code == 0
    assert "1 image file is forgotten" in done.err
    assert "it is in scans, so 'roco index' will add it again" in done.err
    assert (place / "scans" / "CT_small.dcm").exists()
    done = roco("library", "remove", "scans", "--json")
    assert done.json == {"path": str(place / "scans"), "removed": 2, "indexed_again_with": []}
    assert roco("status", "--json").json["frames"] == 0
    again = roco("library", "remove", "scans")
    assert again.code == 1 and "knows nothing at" in again.err


def test_verify(roco: Roco, place: Path) -> None:
    sound = roco("library", "verify", "--json")
    assert sound.code == 0
    assert (sound.json["problems"], sound.json["vectors"], sound.json["recall_at_10"]) == ([], 3, None)
    with Opened(place / "library", ToyEncoder()) as opened:
        opened.library.vectors().graph()
    found = roco("library", "verify", "--json").json
    assert (found["recall_at_10"], found["recall_at_10_texts"], found["ef"]) == (1.0, None, 800)
    shown = roco("library", "verify")
    assert "1.000 for images and not measured for texts" in shown.out and "toy" in shown.err, "it has no such model"
    connection = sqlite3.connect(place / "library" / "library.db")
    connection.execute("DELETE FROM vectors WHERE id = 1")
    connection.commit()
    connection.close()
    bad = roco("library", "verify")
    assert bad.code == 1 and "do not fit its images" in bad.err
    bad = roco("library", "verify", "--json")
    assert bad.code == 1 and len(bad.json["problems"]) == 1


def test_vacuum(roco: Roco, place: Path) -> None:
    done = roco("library", "vacuum", "--json").json
    assert done["complete"] and done["freed"] == done["before"] - done["after"]
    assert 0 < (place / "library" / "library.db").stat().st_size <= done["after"]
    assert "the library now takes" in roco("library", "vacuum").err


def test_move_and_relocate(roco: Roco, place: Path) -> None:
    done = roco("library", "move", "moved", "--json").json
    assert done == {"source": str(place / "library"), "target": str(place / "moved"), "copied": False}
    gone = roco("status")
    assert gone.code == 1 and "roco index PATH" in gone.err
    (place / "scans").rename(place / "archive")
    moved = roco("library", "relocate", "scans", "archive", "--library", "moved", "--json")
    assert moved.json["files"] == 3
    roots = roco("status", "--library", "moved", "--json").json["roots"]
    assert [(root["path"], root["present"], root["files"]) for root in roots] == [(str(place / "archive"), True, 3)]


def test_a_model_that_was_moved_is_found_again(roco: Roco, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"/elsewhere/toy": ToyEncoder(name="/elsewhere/toy"), "other": ToyEncoder(seed=1, name="other")}
    monkeypatch.setattr("roco_search.models.load_encoder", lambda name, *_: found[name])
    wrong = roco("library", "relocate", "--model", "other")
    assert wrong.code == 1 and "roco index --reembed --model other" in wrong.err
    assert roco("library", "relocate", "--model", "/elsewhere/toy", "--json").json["model"] == "/elsewhere/toy"
    assert roco("status", "--json").json["model"]["model"] == "/elsewhere/toy"
    for arguments in ((), ("scans",), ("scans", "archive", "--model", "other")):
        refused = roco("library", "relocate", *arguments)
        assert refused.code == 2 and "OLD and NEW" in refused.err


def test_shards_are_merged(roco: Roco, place: Path) -> None:
    """With the embedded model, in this process, one shard after the other."""
    shutil.rmtree(place / "library")
    for number in (1, 0):
        done = roco("index", "--shard", f"{number}/2", "--parts", "parts", "scans", "--json")
        assert done.code == 0 and set(done.json) >= {"indexed", "unchanged", "removed", "skipped", "frames"}
    assert roco("library", "merge", "parts", "--json").json["indexed"] == 3
    assert "3 unchanged" in roco("library", "merge", "parts").err
    assert roco("library", "verify").code == 0 and roco("status", "--json").json["model"]["model"] == "roco-mini"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shard", "0/2", "scans"], "--shard and --parts belong together"),
        (
            ["--shard", "2/2", "--parts", "parts", "scans"],
            "'2/2' is no --shard; shards are counted from 0, such as 0/2",
        ),
        (["--shard", "0/2", "--parts", "parts"], "Name the folders whose share"),
        (["--shard", "0/2", "--parts", "parts", "--reembed", "scans"], "--reembed is for a library"),
        (["--shard", "0/2", "--parts", "parts", "--captions", "scans"], "when the parts are merged"),
    ],
)
def test_a_shard_that_cannot_be_is_refused(roco: Roco, place: Path, arguments: list[str], says: str) -> None:
    result = roco("index", *arguments)
    assert result.code in (1, 2) and says in " ".join(result.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["remove", "elsewhere"], 1, "roco status"),
        (["remove", ""], 1, "The path is empty"),
        (["remove"], 2, "is missing"),
        (["move", "scans"], 1, "choose a new one"),
        (["move", "library/inside"], 1, "one inside the other"),
        (["move", "moved", "--library", "nowhere"], 1, "roco index PATH"),
        (["relocate", "scans", "elsewhere"], 1, "3 of 3 files are not"),
        (["relocate", "elsewhere", "scans"], 1, "knows no file"),
        (["verify", "--library", "nowhere"], 1, "roco index PATH"),
        (["vacuum", "--library", "nowhere"], 1, "roco index PATH"),
        (["merge", "scans"], 1, "neither parts nor a library in"),
        (["copy", "nowhere", "copied"], 1, "roco index PATH"),
        (["copy", "library", "scans"], 1, "choose a new one"),
        (["look"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_sentence(roco: Roco, place: Path, arguments: list[str], code: int, says: str) -> None:
    result = roco("library", *arguments)
    assert (result.code, result.out) == (code, "")
    assert says in " ".join(result.err.replace("│", " ").split())
    if code == 1:
        assert len(result.err.splitlines()) == 1 and result.err.startswith("Error: ")
