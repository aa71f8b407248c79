"""``roco probe``, ``session``, and the commands that use them, as a person meets them."""

from __future__ import annotations

import csv
import io
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Roco


@pytest.fixture
def films(tmp_path: Path, roco: Roco, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen films in the library, every other one with a bright sign, and a table that says which."""
    folder = tmp_path / "films"
    folder.mkdir()
    chance = np.random.default_rng(0)
    lines = ["path,sign"]
    for number in range(16):
        pixels, shown = chance.integers(40, 90, (48, 48)).astype(np.uint8), number % 2 == 0
        pixels[16:32, 16:32] += 120 * shown
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"films/{number}.png,{int(shown)}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert roco("index", "films", "-q").code == 0
    return tmp_path


def test_a_probe_from_its_labels_to_its_use(roco: Roco, films: Path) -> None:
    assert "no probe yet" in roco("probe", "list").err
    taught = roco("probe", "fit", "signs", "--labels", "labels.csv", "--report", "signs.html")
    assert taught.code == 0, taught.err
    for words in ("16 images of 16 cases", "labels shuffled", "header and border alone", "rule in (specificity 0.95)"):
        assert words in taught.out, words
    page = films / "signs.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600 and "films/" not in page.read_text()
    (card,) = roco("probe", "list", "--json").json
    (label,) = card["labels"]
    assert label["label"] == "sign" and label["head"]["auc"][0] > 0.9 and label["thresholds"]["sensitivity"] == 0.95
    assert roco("probe", "show", "signs", "--json").json == card
    refused = roco("probe", "fit", "signs", "--labels", "labels.csv")
    assert refused.code == 2 and "--overwrite" in refused.err

    applied = roco("probe", "apply", "signs", "--output", "p.csv", "--json").json
    assert applied[0]["images"] == 16
    rows = list(csv.DictReader(io.StringIO((films / "p.csv").read_text())))
    shown = {Path(row["path"]).name: float(row["sign"]) for row in rows}
    assert min(shown[f"{n}.png"] for n in range(0, 16, 2)) > max(shown[f"{n}.png"] for n in range(1, 16, 2))
    kept = np.load(films / "p.npz") if roco("probe", "apply", "signs", "-o", "p.npz").code == 0 else {}
    assert kept["probabilities"].shape == (16, 1) and kept["labels"].tolist() == ["sign"]
    assert (
        roco("probe", "apply", "signs", "-o", "p.npz").code == 2
        and roco("probe", "apply", "signs", "-o", "p.x").code == 2
    )
    assert "labelled already" in roco("probe", "next", "signs").err

    hits = roco("query", "--probe", "signs", "--json", "-n", "8", "--no-fold").json
    assert {Path(hit["path"]).name for hit in hits} == {f"{n}.png" for n in range(0, 16, 2)}
    assert [hit["probability"] for hit in hits] == sorted((hit["probability"] for hit in hits), reverse=True)
    limit = hits[3]["probability"] - 1e-6
    some = roco("query", "film", "--where", f"sign>{limit}", "--json", "--no-fold").json
    assert {hit["path"] for hit in some} == {hit["path"] for hit in hits[:4]}
    both = roco("query", "film", "--probe", "signs:sign", "--json", "-n", "2", "--no-fold").json
    assert all(hit["match"] and hit["probability"] > 0.5 for hit in both)
    for wrong in (
        ("query", "--where", "sign", "film"),
        ("query", "--probe", "nothing"),
        ("query", "--probe", "signs:x"),
    ):
        assert roco(*wrong).code == 1

    seen = roco("classify", "films/0.png", "films/1.png", "--probe", "signs", "--json").json
    assert [entry["labels"][0]["above_threshold"] for entry in seen] == [True, False]
    assert seen[0]["labels"][0]["probability"] == pytest.approx(shown["0.png"], abs=2e-3)
    assert roco("classify", "films", "--probe", "signs", "--labels", "a,b").code == 2
    (measured,) = roco("classify", "films", "--probe", "signs", "--truth", "labels.csv", "--json").json["labels"]
    assert (measured["label"], measured["images"], measured["positives"]) == ("sign", 16, 8)
    assert measured["auc"]["value"] == 1, "the probe's own threshold decides, and its figures are printed as others'"
    told = roco("classify", "films", "--probe", "signs", "--truth", "labels.csv", "--json").json
    assert (told["mode"], told["decided_by"], told["accuracy"]["value"]) == ("multi-label", "the given thresholds", 1)
    unknown = roco("classify", "--probe", "signs", "--truth", "labels.csv", "--truth-column", "x")
    assert unknown.code == 1 and "as --truth-column" in unknown.err
    unknown = roco("probe", "fit", "x", "--labels", "labels.csv", "--label-column", "x")
    assert unknown.code == 1 and "no column 'x'" in unknown.err and "truth" not in unknown.err
    few = roco("probe", "space", "x", "--labels", "labels.csv")
    assert few.code == 1 and "label 40 or more" in few.err
    unknown = roco("similar", "films/0.png", "--space", "x")
    assert unknown.code == 1 and "no space 'x'; teach one with `roco probe space`" in unknown.err

    # A cohort of what the probe gives, which follows the probe.
    saved = roco("cohort", "save", "signed", "--where", f"sign>{limit}", "--json").json
    assert saved["images"] == 4 and saved["definition"]["where"] == [f"sign>{limit}"]
    assert roco("cohort", "diff", "signed", "--json").json["stayed"] == 4

    assert roco("probe", "export", "signs", "s.safetensors").code == 0
    assert roco("probe", "import", "s.safetensors", "--name", "theirs").code == 0
    assert roco("probe", "rename", "theirs", "signs").code == 1
    assert roco("probe", "remove", "signs").code == 0 and roco("probe", "remove", "signs").code == 1
    assert [card["name"] for card in roco("probe", "list", "--json").json] == ["theirs"]


def test_marks_rank_the_next_page_and_become_a_probe(roco: Roco, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def marked(*arguments: object, said: str) -> tuple[list[str], str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        done = roco("query", *arguments, "--mark", "--no-fold", "-n", 4)
        assert done.code == 0, done.err
        return [Path(line.split()[-1]).name for line in done.out.splitlines() if line.endswith(".png")], done.err

    def line(names: list[str]) -> str:
        return " ".join(f"{'' if int(name[:-4]) % 2 == 0 else '-'}{rank}" for rank, name in enumerate(names, 1))

    first, said = marked("film", said="9\n\nq\n")
    assert len(first) == 8 == len(set(first)) and "'9' is none of the numbers shown" in said and "kept" not in said
    pages, said = marked("film", "--session", "signs", said=f"{line(first[:4])}\nq\n")
    assert pages[:4] == first[:4] and not set(pages[4:]) & set(first[:4]) and "kept as the session 'signs'" in said
    again, said = marked("--session", "signs", said=f"{line(pages[4:])}\nu\n{line(pages[4:])}\n")
    assert again[:4] == pages[4:] and again[8:12] == again[:4] and "4 marks taken back" in said
    shown = {int(name[:-4]) for name in (*pages, *again)}
    assert len(shown) == 12 and {0, 2, 4, 6, 8, 10, 12, 14} <= shown, "every sign is among the first three pages"
    marked("--session", "signs", said=line(again[-4:]))
    (entry,) = roco("session", "list", "--json").json
    assert (entry["name"], entry["query"], entry["yes"], entry["no"]) == ("signs", ["film"], 8, 4)
    assert "yes" in roco("session", "show", "signs").out
    taught = roco("probe", "fit", "sign", "--from-marks", "signs", "--no-pictures", "--json")
    assert taught.code == 0 and taught.json["labels"][0]["images"] == 12, taught.err
    liked = roco("cohort", "save", "liked", "--session", "signs", "--json").json
    assert liked["images"] == 8 and liked["definition"]["session"] == "signs"
    members = roco("cohort", "show", "liked", "--json").json["members"]
    assert {int(Path(member["path"]).stem) % 2 for member in members} == {0}
    assert roco("session", "rename", "signs", "those").code == 0 and roco("session", "show", "signs").code == 1
    assert roco("session", "remove", "those").code == 0 and roco("session", "list", "--json").json == []
    assert roco("query", "film", "--session", "x").code == 2 and roco("query", "film", "--mark", "--json").code == 2
