"""Every template shows what it is given as text, and no Python file writes HTML past the templates."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

import roco_search
from roco_search.figures import mark_safe, page, render

PACKAGE = Path(roco_search.__file__).parent
HARM = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)> ${1+1} {{value}} `x` \x1b[31m\udcff\n"
SHOWN = HARM.replace("\x1b", "\\x1b").replace("\udcff", "\\udcff").replace("\n", "\\n")


def values(text: str) -> dict[str, dict[str, Any]]:
    """What each template is given, with one text wherever somebody else may have a say."""
    card = {"image": text, "text": text, "alt": text, "rank": 1, "score": text, "facts": text, "path": text}
    files = {"rows": [(text, text)], "more": text}
    return {
        "embedding_map/map.html": {
            "title": text, "shown": text, "total": text, "method": text, "guessed": True, "drawn": text,
            "color": text, "groups": [(text, text)], "pictures": mark_safe("[]"), "held": text,
        },
        "embedding_map/points.svg": {"points": [(mark_safe('x="1"'), text, mark_safe(""))]},
        "evaluation/report.html": {
            "title": text, "n": text, "left_out": [text, text], "resamples": text, "seed": text, "fingerprints": text,
            "version": text,
            "blocks": [
                ("h2", text), ("h3", text), ("note", text), ("figure", text), ("table", (["", text], [[text, text]])),
                ("cards", [{**card, "bold": text, "first": text}]),
                ("cards", [{**card, "bold": text, "first": None, "image": None}]),
            ],
        },
        "figures/contact_sheet.html": {
            "title": text, "said": text, "cards": [{**card, "first": text}, {**card, "first": text, "image": None}],
        },
        "figures/page.html": {
            "policy": text, "kind": text, "title": text, "style": mark_safe(""), "body": text, "script": mark_safe(""),
        },
        "agents/templates/api.html": {
            "api": {
                "info": {"title": text, "version": text, "description": text}, "openapi": text,
                "paths": {text: {"get": {"summary": text}}},
            },
        },
        "probe/report.html": {
            "probe": {"name": text, "fingerprint": text, "made": text, "caveats": lambda: [text]},
            "model": text, "resamples": text, "version": text,
            "labels": [
                {
                    "name": text, "rows": [(text, text, text)], "gain": text, "shuffled": text, "shortcut": text,
                    "best": text, "rule_out": text, "rule_in": text, "plots": [text],
                    "limits": {"sensitivity": text, "specificity": text},
                    "claim": {"positives": text, "images": text, "cases": text},
                }
            ],
        },
        "web/templates/bars.html": {
            "exclusive": True, "prompts": text, "labels": [{"label": text, "probability": 0.5, "score": 0.1}],
        },
        "web/templates/cards.html": {
            "cards": [
                {
                    "id": text, "name": text, "label": text, "score": text, "kind": text, "facts": text, "match": text,
                    "relevance": 0.5, "why": text, "said": text, "heading": text,
                }
            ],
        },
        "web/templates/chips.html": {"chips": [{"label": text, "kind": "wanted", "without": text}]},
        "web/templates/gallery.html": {"cards": text, "label": text, "address": text, "more": True},
        "web/templates/head.html": {"scripts": [text], "library": text, "hands": text},
        "web/templates/header.html": {},
        "web/templates/image.html": {"image": text, "maps": [(text, text), (text, text)], "name": text},
        "web/templates/library.html": {"facts": [(text, text)], "charts": [text]},
        "web/templates/note.html": {"text": text, "error": True},
        "web/templates/placeholder.svg": {"lines": [text]},
        "web/templates/refused.html": {"unreadable": files, "not_images": {"rows": [], "more": None}},
        "web/templates/refusals.html": {"sentences": [text]},
        "web/templates/rows.html": {
            "rows": [{"image": text, "title": text, "labels": [{"label": text, "probability": 0.5}]}], "chosen": 0,
        },
        "web/templates/start.html": {
            "suggestions": [(text, text)], "order": "newest", "orders": {"newest": text}, "kept": [(text, text)],
        },
        "web/templates/upload.html": {"name": text, "image": text, "region": [text] * 4, "cropped": True},
    }  # fmt: skip


class Read(HTMLParser):
    """The elements with the names of their attributes, and every text and value, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, list[str]]] = []
        self.texts: list[str] = []
        self.feed(str(text))
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, [name for name, _ in attributes]))
        self.texts += [value or "" for _, value in attributes]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("template", sorted(values("")))
def test_a_hostile_value_stays_text(template: str) -> None:
    hostile = render(template, **values(HARM)[template])
    seen = Read(hostile)
    assert seen.elements == Read(render(template, **values("x")[template])).elements
    given = values(HARM)[template]
    assert given == values("")[template] or any(SHOWN in text for text in seen.texts)
    assert "\x1b" not in hostile and "\udcff" not in hostile and HARM not in hostile
    assert not re.search(r"\$\{|\{\{|`", hostile), "Gradio's own templates would evaluate it"


def test_no_template_is_left_out() -> None:
    templates = {
        path.relative_to(PACKAGE).as_posix() for kind in ("html", "svg") for path in PACKAGE.rglob(f"*.{kind}")
    }
    assert templates - set(values("")) == {"figures/picture.html"}, "a macro, which two of the others call"


def test_a_body_that_no_template_wrote_is_shown_as_text() -> None:
    assert "&lt;b&gt;" in page("report", "T", "<b>bold</b>")  # type: ignore[arg-type]


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="image"):
        render("web/templates/upload.html", name="x")


# Who writes HTML.

TAG = re.compile(r"(?<!\(\?P)</?[a-zA-Z][\w-]*(\s[^<>]*)?/?>|<[a-z]+ [\w-]+=|<!doctype", re.IGNORECASE)
READERS = {
    "embedding_map/drawing.py",  # finds the points of a plot
    "figures/page.py",  # finds the style elements of a page
    "models/legibility.py",  # names the token of unknown words
}


def strings(path: Path) -> Iterator[tuple[bool, str]]:
    """The strings of a file that are no docstrings, and whether each is an f-string."""
    tree = ast.parse(path.read_text("utf-8"))
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            # What stands in braces does not matter here: a name in its place keeps a tag a tag.
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            parts |= {id(part) for part in node.values}
            yield True, text
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield False, node.value


def test_python_writes_no_html() -> None:
    assert TAG.search('<li class="x') and TAG.search("<br/>") and not TAG.search("a < b and c > d <f8 (?P<name>.)")
    found = {
        (path.relative_to(PACKAGE).as_posix(), formatted)
        for path in PACKAGE.rglob("*.py")
        for formatted, text in strings(path)
        if TAG.search(text)
    }
    assert found == {(name, False) for name in READERS}
