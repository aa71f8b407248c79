"""What the commands print, in terminals of many widths: each word of the wide output is whole in the narrow one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roco_search.cli.render.hits import show
from roco_search.cli.terminal import cells
from roco_search.models import load_encoder
from roco_search.search import Hit
from tests.cli.commands.test_eval import Remembering
from tests.cli.commands.test_train import imagefolder
from tests.cli.conftest import Roco
from tests.training.data import draw

WIDTHS = (60, 80, 100, 120, 200)


@pytest.fixture(scope="module")
def encoder() -> Remembering:
    """The pictures are the same in every width, so they are embedded once."""
    return Remembering(load_encoder("roco-mini", "cpu"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("model", "list"),
        ("index",),
        ("query", "chest x-ray", "--no-fold"),
        ("library", "list"),
        ("library", "verify"),
        ("outliers",),
        ("duplicates",),
        ("doctor",),
        ("classify", "scans", "--labels", "CT of the abdomen,chest radiograph"),
        ("classify", "scans", "--labels", "normal,pneumonia,fracture of the hip", "--multi-label"),
        ("eval", "pairs", "--split", "train"),
        ("eval", "pairs", "--split", "train", "--protocol", "roco-v1", "--by", "license"),
    ],
    ids=" ".join,
)
def test_every_word_is_whole(
    roco: Roco, scans: Path, encoder: Remembering, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    folder = scans / "a-folder-with-a-long-name_and-more-of-it" / "1.2.840.113619.2.55.3.604688119.969.1268071029.320"
    folder.mkdir(parents=True)
    (scans / "broken.png").rename(folder / ("broken_" + "1.2.840.113619." * 4 + "png"))
    (folder / "ramp.png").write_bytes((scans / "ramp.png").read_bytes())
    monkeypatch.chdir(scans.parent)
    if arguments[0] == "eval":
        (scans.parent / "pairs").mkdir()
        imagefolder(scans.parent / "pairs", [pair.caption for pair in draw(scans.parent / "pairs", 12)])
    roco("index", scans)
    if arguments[0] in {"classify", "eval"}:
        monkeypatch.setattr("roco_search.models.load_encoder", lambda *_: encoder)

    def printed(width: int | None) -> str:
        monkeypatch.setattr("roco_search.cli.output.terminal_width", lambda *_: width)
        return roco(*arguments).out

    wide = printed(None)
    words = {word for word in wide.split() if "/" not in word} - {"–"}
    for width in WIDTHS:
        narrow = printed(width)
        assert all(cells(line) <= width for line in narrow.splitlines()), width
        written = narrow.replace("?", " (guess)") if "(guess)" in words else narrow
        assert words <= set(written.split()), (width, words - set(written.split()))


def test_a_hit_takes_one_line_of_a_hundred_columns_with_all_that_is_known_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = {"modality": "fluoroscopy", "body_part": "bones and joints"}
    hit = Hit(1, 0.5, "/a/folder/" + "long" * 20 + ".dcm", 0, 1, None, None, None, "s", 9, 9, more=3)
    hits = [replace(hit, probability=0.5, relevance=0.5, match="strong", taken_for=taken)]
    monkeypatch.setattr("roco_search.cli.output.terminal_width", lambda *_: 100)
    show(hits)
    head, line = (shown := capsys.readouterr()).out.splitlines()
    assert "fluoroscopy?  bones and joints?" in line and "probability" in head and "a guess of the model" in shown.err
    show([replace(hits[0], probability=None, more=0, taken_for={"modality": "CT", "body_part": "no body part"})])
    shown = capsys.readouterr()
    assert "CT (guess)" in shown.out and "no body part" not in shown.out and not shown.err
