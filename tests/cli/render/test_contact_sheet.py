"""The contact sheet: one page that shows every hit, asks nobody for anything, and takes file names for text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roco_search.cli.render.contact_sheet import contact_sheet, describe, write_contact_sheet
from roco_search.errors import InputError
from roco_search.figures.contact_sheet import thumbnail
from roco_search.search import Hit, Term

COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}
NAMES = {
    "red": "<script>document.title='taken over'<\u2044script>.png",
    "green": "\"><img src=x onerror=alert(1)> & 'co'.png",
    "blue": "caf\u00e9 \udcff\x1b[31m\n.png",
}


@pytest.fixture
def hits(tmp_path: Path) -> list[Hit]:
    """Three pictures, each of one colour, whose names mean harm."""
    found = []
    for rank, (colour, name) in enumerate(NAMES.items(), start=1):
        path = tmp_path / name
        Image.new("RGB", (90, 60), COLOURS[colour]).save(path, "PNG")
        found.append(Hit(rank, 0.5 - rank / 10, str(path), 0, 1, "CT", "CHEST", None, None, 60, 90, more=16))
    return found


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        known = dict(attributes)
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policy = known.get("content") or ""
        self.current = known.get("class") or tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.current, []).append(data.strip())


def test_page_holds_every_picture_and_nothing_that_could_ask_for_more(hits: list[Hit]) -> None:
    text = contact_sheet(hits, '<script>1</script> & "more"')
    page = Page(text)
    assert text.isascii()
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "ol", "li", "b", "span", "img", "footer",
    }  # fmt: skip
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in {"style", "href", "srcset"}]
    sources = [value for _, name, value in page.attributes if name == "src"]
    assert len(sources) == 3
    for source, colour in zip(sources, COLOURS.values(), strict=True):
        kind, _, data = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (90, 60)
        assert max(abs(a - b) for a, b in zip(np.asarray(picture)[30, 45].tolist(), colour, strict=True)) < 12
    assert not re.search(r"https?:|url\(|@import|//", re.sub(r"base64,[^\"]*", "", text))
    directives = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert directives["default-src"] == "'none'" and directives["img-src"] == "data:"
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert directives["style-src"] == f"'sha256-{digest}'"
    assert page.texts["h1"] == ['<script>1</script> & "more"']
    shown = [name.replace("\x1b", "\\x1b").replace("\n", "\\n").replace("\udcff", "\\udcff") for name in NAMES.values()]
    assert [path.rpartition("/")[2] for path in page.texts["path"]] == shown
    assert "1. 0.400" in page.texts["b"] and any("+16 more" in fact for fact in page.texts["b"])
    assert page.texts["footer"] == ["For research, not for clinical use."]


def test_hit_whose_file_is_gone_shows_the_reason(hits: list[Hit]) -> None:
    Path(hits[1].path).unlink()
    page = Page(contact_sheet(hits, "x"))
    assert page.tags.count("img") == 2 and page.tags.count("li") == 3
    assert len(page.texts["picture"]) == 1


def test_the_frame_that_was_found_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "pages.tiff"
    first, *others = [Image.new("RGB", (640, 480), colour) for colour in COLOURS.values()]
    first.save(path, "TIFF", save_all=True, append_images=others)
    for number, colour in enumerate(COLOURS.values()):
        drawn = thumbnail(str(path), number, 320)
        assert isinstance(drawn, Image.Image) and drawn.size == (320, 240)
        assert drawn.getpixel((100, 100)) == colour
    gone = thumbnail(str(path), 3, 320)
    assert gone == "it has 3 frames by now, and another one was asked for; index it again"


def test_page_is_private_whole_and_never_in_the_place_of_something_else(hits: list[Hit], tmp_path: Path) -> None:
    target = tmp_path / "sheet.html"
    terms = [Term("lung"), Term(tmp_path / "ref.png", 0.5), Term("calcified", -1.0)]
    write_contact_sheet(target, hits, terms)
    assert target.stat().st_mode & 0o777 == 0o600
    assert Page(target.read_text()).texts["h1"] == ["lung + 0.5 × ref.png − calcified"]
    write_contact_sheet(target, hits[:1], terms)
    assert Page(target.read_text()).tags.count("img") == 1, "a sheet may take the place of a sheet"
    scan = Path(hits[0].path)
    before = scan.read_bytes()
    for bad, says in ((scan, "is kept"), (tmp_path, "is kept"), (tmp_path / "no" / "x.html", "cannot be written")):
        with pytest.raises(InputError, match=says):
            write_contact_sheet(bad, hits, terms)
    assert scan.read_bytes() == before
    assert describe([Term("lung", -2.0)]) == "− 2 × lung"


# In a browser.

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LEAK = "http://leak.invalid/picture.png"


def browse(page: Path, *arguments: str) -> tuple[str, list[str]]:
    """Open a page; return what the browser prints, and what the page asked for (not what Chromium asks by itself)."""
    assert CHROMIUM is not None
    log = page.with_suffix(".net.json")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",  # Nobody listens there, so nothing gets out.
        f"--user-data-dir={page.parent / 'profile'}", f"--log-net-log={log}", *arguments, page.as_uri(),
    ]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    record = json.loads(log.read_text("utf-8"))
    started = record["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event["params"] for event in record["events"] if event["type"] == started and "params" in event]
    own = "not an origin"  # The browser's own errands come from no page.
    return printed, [request["url"] for request in requests if request.get("initiator", own) != own]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; install one (apt-get install chromium)")
def test_browser_shows_every_hit_and_asks_nobody(hits: list[Hit], tmp_path: Path) -> None:
    title = f'<img src="{LEAK}"><script>document.title="taken over"</script>'
    sheet = tmp_path / "sheet.html"
    sheet.write_text(contact_sheet(hits, title))

    # A page without escapes and policy: what it asks for is seen.
    careless = tmp_path / "careless.html"
    careless.write_text(f"<!doctype html><body>{title}</body>")
    assert browse(careless, "--dump-dom")[1] == [LEAK]
    # With the policy alone, should an escape ever be forgotten.
    careless.write_text(contact_sheet(hits, "x").replace("<ol>", f"{title}<ol>"))
    printed, requests = browse(careless, "--dump-dom")
    assert LEAK in printed and Page(printed).texts["title"] == ["x"] and requests == []

    screenshot = tmp_path / "page.png"
    printed, requests = browse(sheet, "--dump-dom", f"--screenshot={screenshot}", "--window-size=1000,900")
    assert requests == []
    seen = Page(printed)
    assert seen.tags.count("li") == seen.tags.count("img") == 3 and "script" not in seen.tags
    assert seen.texts["h1"] == [title] and seen.texts["title"] == [title]
    assert seen.texts["path"][0].endswith(NAMES["red"])
    pixels = Image.open(screenshot).convert("RGB")
    shown = np.asarray(pixels, np.int16)
    areas = {name: int((abs(shown - colour).max(axis=2) < 40).sum()) for name, colour in COLOURS.items()}
    assert all(area > 5000 for area in areas.values()), areas
