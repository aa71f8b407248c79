"""The page and the plots."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup
from matplotlib.patches import Rectangle
from PIL import Image

from roco_search.datasets.pair import Pair
from roco_search.errors import InputError, UnreadableImage
from roco_search.evaluation.plots import Group, draw_confusion, draw_groups, draw_ranks, draw_recall
from roco_search.evaluation.report import KIND, caption_examples, class_examples, report, write_report
from roco_search.evaluation.run import Evaluation
from roco_search.figures import page, png, write_png
from roco_search.imaging import CtWindows
from tests.concepts import ConceptEncoder
from tests.evaluation.made import Drawn, pair, pairs
from tests.evaluation.test_run import Blind, run


def everything(*others: ConceptEncoder, **options: Any) -> Evaluation:
    made = [*pairs(40), pair(40, "<script>alert('normal mri')</script>", "pneumonia", "ct", modality="CT", source="b")]
    return run(made, *others, protocols=["whole", "shuffled-32", "roco-v1"], classify=["modality"], **options)


def test_every_title_has_its_pool_and_the_page_asks_nobody() -> None:
    text = report(everything(Blind(), by="source"))
    titles = [re.sub("<[^>]*>", "", title) for title in re.findall(r"<h2>(.*?)</h2>", text)]
    assert len(titles) >= 7
    for title in titles:
        assert "N = 41" in title or title.startswith(("By source", "Surest")), title
    assert "Recall@k among N = 41" in text and "Ranks among N = 41" in text
    assert "70.83 %" in text and "not recall over the set" in text
    assert "it contains" not in text and "This page contains some of the images" in text
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text.replace("http://www.w3.org", ""))
    assert text.isascii() and 8 < text.count("data:image/jpeg") <= 32


def test_the_worst_example_shows_what_came_first() -> None:
    found = everything()
    best, worst = caption_examples(found.embedded[0])
    assert {example.rank for example in best} == {1}
    assert len({example.pair.caption for example in best}) == len(best) == 4, "a caption is shown once"
    assert worst[0].rank > 1 and worst[0].pair.caption.startswith("<script>")
    assert worst[0].first == "pneumonia ct"


def test_examples_by_hand() -> None:
    (entry,) = everything().classifications
    right, wrong = class_examples(entry, [*pairs(41)])
    assert not wrong and [example.called for example in right[:4]] == ["CT", "MRI", "CT", "MRI"], "they take turns"
    assert all(example.truth == example.called and example.probability > 0.5 for example in right)
    (blind,) = run(pairs(8), classify=["labels[1]"], labels=["normal,mri"], ignore_other=True).classifications
    _, wrong = class_examples(blind, pairs(8))
    assert {(example.truth, example.called) for example in wrong} <= {("normal", "mri")}


def test_a_picture_that_has_gone_meanwhile_shows_the_reason() -> None:
    found = everything()

    class Gone(Drawn):
        def read(self, ct_windows: CtWindows | None = None) -> np.ndarray:
            raise UnreadableImage("there is no such file; check the path")

    object.__setattr__(
        found.embedded[0], "pairs", [Pair(Gone("x", ()), p.caption, columns=p.columns) for p in found.embedded[0].pairs]
    )
    assert "there is no such file; check the path" in report(found)


def test_only_a_report_is_overwritten(tmp_path: Path) -> None:
    found = everything()
    write_report(tmp_path / "a.html", found)
    write_report(tmp_path / "a.html", found)
    assert (tmp_path / "a.html").stat().st_mode & 0o077 == 0
    (tmp_path / "b.html").write_text(page("contact sheet", "x", Markup()))
    with pytest.raises(InputError, match=f"is not a roco {KIND}, so it is kept"):
        write_report(tmp_path / "b.html", found)


def test_the_confusion_matrix_is_a_picture(tmp_path: Path) -> None:
    (entry,) = run(pairs(8), classify=["modality"], labels_file="modality").classifications
    drawn = draw_confusion(entry)
    counts = {text.get_text() for text in drawn.axes[0].texts}
    assert counts == {"4"}
    assert [tick.get_text() for tick in drawn.axes[0].get_yticklabels()] == ["CT  (4)", "MRI  (4)"], "none is empty"
    assert "N = 8" in drawn.get_suptitle()
    write_png(tmp_path / "a.png", drawn)
    assert Image.open(tmp_path / "a.png").size[0] > 600
    assert png(draw_confusion(entry)) == png(draw_confusion(entry))


def test_the_curve_is_recall_at_each_k() -> None:
    found = run(pairs(8)).retrieval
    assert found is not None
    drawn = draw_recall([("model", found.rankings[0])])
    lines = {line.get_label(): line.get_ydata() for line in drawn.axes[0].lines}
    assert set(lines) == {"image-to-text", "text-to-image", "chance, strict"}
    assert np.allclose(lines["image-to-text"], 100) and np.allclose(lines["chance, strict"], np.arange(1, 9) * 12.5)
    bars = draw_ranks(found.rankings[0]).axes[0]
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["1", "2–3", "4–7", "8"]
    assert sum(bar.get_height() for bar in bars.patches if isinstance(bar, Rectangle)) == 16


def test_groups_have_their_size_beside_their_name() -> None:
    found = run(pairs(8)).retrieval
    assert found is not None
    bars = {"image-to-text": found.whole[0].metrics["recall@10"]}
    axes = draw_groups("t", [Group("a", 1234, bars, 0.5), Group("b", 2, {})], "recall@10").axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a  (N = 1,234)", "b  (N = 2)"]
