"""What other people have chosen stays text: in HTML, and in the templates of Gradio."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from roco_search.classify import LabelScore, Prediction
from roco_search.library import Skipped
from roco_search.web import markup
from roco_search.web.asking import Conditions, Query
from roco_search.web.backend import Desk
from roco_search.web.brought import Upload
from roco_search.web.http.routes import ASSETS
from tests.web.conftest import HARM


class Seen(HTMLParser):
    """Tags, attributes and text as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(str(text))  # a plain string: parts of markup would escape what is added to them

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(text: str) -> Seen:
    seen = Seen(text)
    assert "script" not in seen.tags
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
    assert not re.search(r"\$\{|\{\{|`", text), "Gradio's templates would read it"
    return seen


def test_every_place_where_a_name_or_a_label_stands(desk: Desk) -> None:
    found = desk.find(Query("a grey ramp"), Conditions(per_series=False), n=99)
    card = harmless(markup.gallery(markup.cards(desk, found, [HARM] * len(found.hits)), HARM, HARM, more=True))
    assert HARM in card.text and card.tags.count("img") == len(found.hits)
    assert {value.split("?")[0] for _, name, value in card.attributes if name == "src"} == {
        f"roco/image/{number}.jpg" for number, _ in found.hits
    }
    prediction = Prediction("exclusive", (LabelScore(HARM, 0.75, 0.5), LabelScore("b", 0.25, 0.1)), "general", True)
    assert HARM in harmless(markup.bars(prediction)).text
    assert HARM in harmless(markup.note(HARM)).text
    assert (
        HARM
        in harmless(markup.upload(Upload(np.zeros(1, np.float32), HARM, pixels=np.zeros((9, 9, 3), np.uint8)))).text
    )
    assert HARM in harmless(markup.start([HARM], "newest", {"newest": HARM})).text
    assert HARM in harmless(markup.refused(desk, [Skipped(f"/x/{HARM}", HARM)], [])).text


def test_bars_are_as_long_as_the_probabilities() -> None:
    labels = (LabelScore("CT", 0.75, 0.5), LabelScore("MRI", 0.25, 0.1))
    text = markup.bars(Prediction("exclusive", labels, "own", guessed=False))
    assert re.findall(r"width:([\d.]+)%", text) == ["75.0", "25.0"]
    assert "75.0 %" in text and "add up" in text
    assert "against its opposite" in markup.bars(Prediction("multi-label", labels, "own", guessed=False))


def test_every_script_is_loaded_and_can_be_read_at_one_sitting() -> None:
    scripts = {path.name: len(path.read_text("utf-8").splitlines()) for path in ASSETS.glob("*.js")}
    assert scripts.keys() == set(markup.SCRIPTS) and max(scripts.values()) < 300


def test_long_tables_are_cut_and_say_so(desk: Desk) -> None:
    text = markup.refused(desk, [Skipped(f"/x/{number}", "why") for number in range(600)], [])
    assert text.count("<tr>") == 501 and "and 100 more" in text
    assert "Every image could be read." in markup.refused(desk, [], [])
