"""The demo as a person uses it: a real browser, over the real scans where they are beside the checkout.

With ROCO_SCREENS=DIR its pictures are written there, to be looked at.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.library import Library
from roco_search.library.store import raw, to_blob
from roco_search.models import load_encoder
from roco_search.search.guesses import Guesses
from roco_search.web.desk import Desk
from tests.imaging.drawing import SHARED

from .conftest import Site, serve

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCANS = SHARED / "scans"
HEADS = {"HEAD", "BRAIN", "SKULL", "NECK", "HEADNECK"}
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-dev-shm-usage",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; install one (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, scans: Path, indexed: Path) -> Iterator[Site]:
    """The demo over a copy of the real scans; over pydicom's files where these are not here."""
    place = indexed
    if SCANS.is_dir():
        copy = Path(shutil.copytree(SCANS, tmp_path_factory.mktemp("real") / "scans"))
        place = copy.parent / "library"
        with Library.create_or_open(place) as library:
            library.index([copy], load_encoder("roco-mini", "cpu"))
    scratch = tmp_path_factory.mktemp("scratch")
    with Desk(place, load_encoder("roco-mini", "cpu")) as desk, serve(desk, scratch, scans) as site:
        yield site


class Page:
    """A page of the demo, which notes what it asks for and what goes wrong in it."""

    def __init__(self, browser: Any, site: Site, screens: Path, **context: Any) -> None:
        self.screens = Path(os.environ.get("ROCO_SCREENS", screens))
        self.page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}).new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.sizes: dict[str, float] = {}
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", lambda r: r.status >= 400 and self.errors.append(f"{r.status} {r.url}"))
        self.network = self.page.context.new_cdp_session(self.page)
        self.network.send("Network.enable")
        self.network.on(
            "Network.loadingFinished", lambda e: self.sizes.update({e["requestId"]: e["encodedDataLength"]})
        )
        self.page.goto(f"{site.url}/")
        self.box.wait_for()

    def _note_size(self, event: dict[str, Any]) -> None:
        self.sizes[event["requestId"]] = event["encodedDataLength"]

    @property
    def box(self) -> Any:
        return self.page.locator("#roco-text input")

    @property
    def status(self) -> str:
        return str(self.page.locator("#roco-status").inner_text())

    def search(self, text: str) -> list[int]:
        before = self.status
        self.box.fill(text)
        self.box.press("Enter")
        return self.answered(before)

    def answered(self, before: str) -> list[int]:
        """Wait until the page says something else, and every picture that is in sight has come."""
        script = "before => document.querySelector('#roco-status').innerText !== before"
        self.page.wait_for_function(script, arg=before)
        self.page.locator(".roco-card").first.wait_for()
        self.page.wait_for_timeout(200)  # the sentence may come before the images
        self.page.wait_for_function(
            "[...document.querySelectorAll('.roco-card img')].every(i => i.complete && i.naturalWidth > 0 ||"
            " i.getBoundingClientRect().top > innerHeight)"
        )
        return self.ids()

    def ids(self) -> list[int]:
        return [int(card.get_attribute("data-id")) for card in self.page.locator(".roco-card").all()]

    def shot(self, name: str) -> None:
        self.page.screenshot(path=self.screens / f"{name}.png")

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.dataset.id || document.activeElement.tagName"))

    def viewer(self, script: str) -> Any:
        return self.page.evaluate(f"(() => {{ const d = document.querySelector('.roco-viewer'); {script} }})()")

    def drop(self, selector: str, file: Path) -> None:
        """Let a file fall on an element, as from the desktop."""
        data = base64.b64encode(file.read_bytes()).decode()
        self.page.evaluate(
            """([selector, data, name]) => {
                const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
                const dropped = new DataTransfer();
                dropped.items.add(new File([bytes], name));
                const target = document.querySelector(selector);
                for (const kind of ['dragenter', 'dragover', 'drop']) {
                    target.dispatchEvent(new DragEvent(kind, {dataTransfer: dropped, bubbles: true, cancelable: true}));
                }
            }""",
            [selector, data, file.name],
        )


@pytest.fixture(scope="module")
def page(browser: Any, demo: Site, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(browser, demo, tmp_path_factory.mktemp("screens"))


def wait(page: Page, script: str) -> None:
    page.page.wait_for_function(script, timeout=60_000)


def test_a_search_shows_twelve_images(page: Page, demo: Site) -> None:
    assert "For research, not for clinical use." in page.page.inner_text("body")
    own = sum(page.sizes.values())
    assert 100_000 < own < 3_000_000, "the page itself, compressed"
    found = page.search("brain MRI")
    assert len(found) == 12 and "12 of" in page.status
    page.shot("1-search")
    if SCANS.is_dir():
        index = demo.desk.ask(lambda library: library.vectors())
        vectors = np.stack([index.matrix[index.rows(np.array([number]))[0]] for number in found])
        frames = demo.desk.ask(lambda library: library.frames(found))
        guesses = Guesses(demo.desk.encoder).guess("body_part", vectors)
        parts = [frames[number].body_part or guess for number, guess in zip(found, guesses, strict=True)]
        assert sum(part in HEADS for part in parts) >= 11, parts


def test_filters_leave_only_what_they_name(page: Page, demo: Site) -> None:
    before = page.status
    page.page.locator("#roco-modality input").first.click()
    page.page.get_by_role("option", name="CT").first.click()
    found = page.answered(before)
    assert {frame.modality for frame in demo.desk.ask(lambda library: library.frames(found)).values()} == {"CT"}
    page.page.keyboard.press("Escape")
    page.shot("2-filtered")


def test_the_keyboard_alone_opens_moves_and_closes(page: Page, demo: Site) -> None:
    found = page.ids()
    page.page.locator(".roco-card").first.focus()
    page.page.keyboard.press("ArrowRight")
    assert page.focused() == str(found[1])
    page.page.keyboard.press("ArrowDown")
    assert page.focused() in map(str, found[2:])
    page.page.keyboard.press("Home")
    page.page.keyboard.press("Enter")
    wait(page, "document.querySelector('.roco-viewer').open")
    wait(page, "document.querySelector('.roco-viewer [data-part=image]').src.includes('size=1280')")
    assert page.viewer("return d.contains(document.activeElement)"), "focus is inside"
    assert page.viewer("return d.querySelector('h2').textContent") == demo.desk.name(demo.desk.frame(found[0]).path)
    page.shot("3-open")
    page.page.keyboard.press("ArrowRight")
    name = demo.desk.name(demo.desk.frame(found[1]).path)
    wait(page, f"document.querySelector('.roco-viewer h2').textContent === {name!r}")
    page.page.keyboard.press("Escape")
    assert not page.viewer("return d.open")
    assert page.focused() == str(found[0]), "and the focus is where it was"


def test_a_window_changes_the_picture_and_neighbours_follow(page: Page, demo: Site) -> None:
    found = page.ids()
    series = next(
        number for number in found if demo.desk.beside(number).kind == "series" and demo.desk.beside(number).count > 2
    )
    page.page.locator(f'.roco-card[data-id="{series}"]').click()
    wait(page, "document.querySelector('.roco-viewer [data-part=image]').src.includes('size=1280')")
    page.page.get_by_role("button", name="lung").click()
    wait(page, "document.querySelector('.roco-viewer [data-part=image]').src.includes('center=-600&width=1500')")
    assert page.viewer("return d.querySelector('[data-part=center-shown]').textContent") == "-600 HU"
    page.shot("4-window")
    slider = page.page.locator('[data-part="width"]')
    slider.focus()
    page.page.keyboard.press("ArrowLeft")
    wait(page, "!document.querySelector('.roco-viewer [data-part=image]').src.includes('width=1500')")
    page.page.locator('.roco-viewer [data-do="like"]').focus()
    before = page.viewer("return d.querySelector('[aria-current]').dataset.id")
    key = "ArrowUp" if demo.desk.beside(series).place else "ArrowDown"
    page.page.keyboard.press(key)
    wait(page, f"document.querySelector('.roco-viewer [aria-current]').dataset.id !== '{before}'")


def test_more_like_this_asks_again(page: Page, demo: Site) -> None:
    current = int(page.viewer("return d.querySelector('[aria-current]').dataset.id"))
    before = page.status
    page.page.get_by_role("button", name="More like this").click()
    found = page.answered(before)
    assert "like" in page.status and current not in found
    page.shot("5-like")


def test_a_dropped_dicom_is_classified_and_explained(page: Page, scans: Path) -> None:
    page.tab("Classify")
    page.drop("#roco-classify-upload button", scans / "MR_small.dcm")
    page.page.locator(".roco-bar").first.wait_for()
    values = [float(text.removesuffix(" %")) for text in page.page.locator(".roco-value").all_inner_texts()]
    assert len(values) == 4 and sum(values) == pytest.approx(100, abs=0.3) and values == sorted(values, reverse=True)
    page.page.locator(".roco-plain").wait_for(timeout=90_000)
    assert page.page.locator("[data-layer]:visible").count() == 1
    page.page.locator(".roco-bar").nth(2).click()
    assert page.page.locator("[data-layer]:visible").get_attribute("data-layer") == "2"
    page.page.locator(".roco-plain").click()
    assert page.page.locator("[data-layer]:visible").get_attribute("data-layer") == "plain"
    page.page.locator(".roco-bar").first.click()
    page.shot("6-classified")


def test_the_map_is_drawn_and_opens_images(page: Page) -> None:
    page.tab("Library")
    wait(page, "document.querySelectorAll('.roco-legend button').length > 1")
    wait(page, "document.querySelectorAll('.roco-charts svg').length === 2")
    inked = """(() => { const c = document.querySelector('.roco-map canvas'); if (!c.width) return 0;
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        return data.filter((v, i) => i % 4 === 3 && v).length })()"""
    wait(page, f"{inked} > 100")
    canvas = page.page.locator(".roco-map canvas")
    canvas.scroll_into_view_if_needed()
    page.shot("7-map")
    canvas.focus()
    page.page.keyboard.press("ArrowRight")
    assert page.page.locator(".roco-tip").is_visible()
    page.page.keyboard.press("Enter")
    wait(page, "document.querySelector('.roco-viewer').open")
    page.page.keyboard.press("Escape")
    page.page.get_by_text("body part", exact=True).last.click()
    page.page.wait_for_timeout(300)
    inked_before = page.page.evaluate(inked)
    page.page.locator(".roco-legend button").first.click()
    assert page.page.evaluate(inked) < inked_before, "a group is hidden"


def test_nobody_else_was_asked_and_nothing_went_wrong(page: Page, demo: Site) -> None:
    assert [url for url in page.requests if not url.startswith((demo.url, "data:", "blob:"))] == []
    assert page.errors == []
    nameless = page.page.evaluate(
        "[...document.querySelectorAll('.roco-card, .roco-viewer button, .roco-map button, .roco-bar')]"
        ".filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0
    assert page.page.evaluate("[...document.images].filter(i => i.getAttribute('alt') === null).length") == 0


def test_a_phone_and_the_dark(browser: Any, demo: Site, tmp_path: Path) -> None:
    phone = Page(
        browser, demo, tmp_path, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True,
        color_scheme="dark",
    )  # fmt: skip
    wait(phone, "!document.querySelector('#roco-filters > button.open')")
    assert len(phone.search("head")) == 12
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.page.locator(".roco-card").nth(1).bounding_box()["y"] < 844, "results are in sight"
    background = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60, background
    phone.shot("8-phone")
    phone.page.locator(".roco-card").first.tap()
    wait(phone, "document.querySelector('.roco-viewer').open")
    assert phone.page.locator(".roco-viewer").bounding_box()["width"] == 390
    phone.shot("9-phone-open")
    assert phone.errors == []


def test_ten_thousand_images_answer_at_once(
    browser: Any, indexed: Path, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    many(indexed, tmp_path / "library", 10_000)
    command = [sys.executable, "-m", "roco_search", "demo", "--port", "0", "--library", str(tmp_path / "library")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as running:
        assert running.stderr is not None
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", running.stderr.readline())
        assert match is not None
        try:
            page = Page(browser, Site(None, tmp_path, int(match[1]), tmp_path), tmp_path)  # type: ignore[arg-type]
            page.search("brain MRI")
            queries = ("chest X-ray", "liver", "hand", "knee", "spine CT", "abdomen", "breast ultrasound")
            times = [page.page.evaluate(MEASURE, text) for text in queries]
        finally:
            running.terminate()
    record_property("milliseconds", times)
    with capsys.disabled():
        print(f" {[round(t) for t in times]} ms in the page, median {statistics.median(times):.0f} ms", end=" ")
    # The best of seven: what else this machine does is not ours.
    assert min(times) < 150, times


MEASURE = """async (text) => {
    const box = document.querySelector('#roco-text input');
    const first = () => (document.querySelector('.roco-card') || {}).outerHTML;
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, text);
    box.dispatchEvent(new Event('input', {bubbles: true}));
    await new Promise(resolve => setTimeout(resolve, 600));
    const before = first();
    const start = performance.now();
    box.dispatchEvent(new KeyboardEvent('keypress', {key: 'Enter', bubbles: true}));
    return await new Promise(resolve => {
        const seen = new MutationObserver(() => {
            if (first() !== before) { seen.disconnect(); resolve(performance.now() - start); }
        });
        seen.observe(document.body, {childList: true, subtree: true, characterData: true});
    });
}"""


def many(source: Path, target: Path, count: int) -> None:
    """Copy a library and add files to it, each with the vector of a real one and some noise."""
    shutil.copytree(source, target)
    chance = np.random.default_rng(0)
    with Library.create_or_open(target) as library:
        store, index = library._store, library.vectors()
        vectors, frames = np.array(index.matrix), list(library.frames(index.ids.tolist()).values())
        ((set_id,),) = store.read("SELECT id FROM embedding_sets")
        ((file_id, frame_id),) = store.read("SELECT MAX(files.id), MAX(frames.id) FROM files, frames")
        files, rows, embedded = [], [], []
        for number in range(1, count - len(frames) + 1):
            frame = frames[number % len(frames)]
            path = f"{Path(frame.path).parent}/./{number}/../{Path(frame.path).name}"
            vector = vectors[number % len(frames)] + 0.05 * chance.normal(size=vectors.shape[1])
            files.append((file_id + number, raw(path), number.to_bytes(32)))
            stated = (frame.frame, frame.frames, frame.modality, frame.body_part)
            rows.append((frame_id + number, file_id + number, *stated))
            unit = to_blob((vector / np.linalg.norm(vector)).astype(np.float32))
            embedded.append((set_id, frame_id + number, unit))
        with store.transaction():
            store.connection.executemany(
                "INSERT INTO files (id, path, size, mtime_ns, content_hash, status) "
                "VALUES (?, CAST(? AS TEXT), 1, 1, ?, 'indexed')",
                files,
            )
            store.connection.executemany(
                "INSERT INTO frames (id, file_id, number, count, modality, body_part) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            store.connection.executemany("INSERT INTO vectors (set_id, frame_id, vector) VALUES (?, ?, ?)", embedded)
