"""The demo as a person uses it: a real browser, over the real scans where they are beside the checkout.

With ROCO_SCREENS=DIR its pictures are written there, to be looked at.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.classify.guesses import Guesses
from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.web.backend import Desk, Neighbours
from roco_search.web.tabs.classify import SETS
from tests.imaging.drawing import SHARED
from tests.web import choosing, mapping, viewing
from tests.web.asking import (
    a_region_of_a_dropped_image_is_searched_for,
    back_undoes_it_and_a_bookmark_leads_there,
    first_page,
    it_is_light_or_dark_as_chosen_and_axe_finds_nothing,
    name_of,
    the_page_begins_with_the_library,
    the_whole_page_goes_by_keyboard,
)
from tests.web.conftest import CAPTION, Site, serve
from tests.web.page import Page, wait

SCANS = SHARED / "scans"
HEADS = {"HEAD", "BRAIN", "SKULL", "NECK", "HEADNECK"}
OHIF = "https://ohif.invalid/viewer?StudyInstanceUIDs={study}"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, scans: Path, indexed: Path) -> Iterator[Site]:
    """The demo over a copy of the real scans; over pydicom's files where these are not here."""
    place = indexed
    if SCANS.is_dir():
        copy = Path(shutil.copytree(SCANS, tmp_path_factory.mktemp("real") / "scans"))
        place = copy.parent / "library"
        with Library.create_or_open(place) as library:
            for name in ("examples_overlay.dcm", "examples_overlay.txt"):
                shutil.copy(scans / name, copy)
            library.index([copy], load_encoder("roco-mini", "cpu"), captions=True)
    scratch = tmp_path_factory.mktemp("scratch")
    with Desk(place, load_encoder("roco-mini", "cpu")) as desk, serve(desk, scratch, scans, viewer=OHIF) as site:
        yield site


def test_a_person_finds_opens_compares_classifies_and_looks_at_the_map(
    browser: Any, demo: Site, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One walk through one page, as the steps below tell it."""
    from roco_search.web.app import prepare_gradio

    prepare_gradio(demo.folder)
    page = Page(browser, demo, tmp_path)
    the_page_begins_with_the_library(page, demo)
    a_search_shows_the_first_page(page, demo)
    a_wide_screen_is_used(page)
    choosing.an_image_is_wanted_and_another_is_not(page)
    choosing.marks_are_kept_and_found_again(page, demo)
    page.search("brain MRI")
    choosing.images_are_chosen_by_mouse_and_keys_and_go_on_together(page, demo, tmp_path)
    chips_say_what_was_understood_and_one_can_be_taken_away(page)
    choosing.the_tray_outlives_a_search_and_a_reload(page)
    filters_leave_only_what_they_name(page, demo)
    the_keyboard_alone_opens_moves_and_closes(page, demo)
    a_window_changes_the_picture_and_neighbours_follow(page, demo)
    viewing.the_hand_is_on_the_picture(page)
    viewing.all_of_it_goes_by_keys(page)
    viewing.the_model_is_asked_where_it_sees_the_words(page)
    open_now = demo.desk.frame(int(page.viewer("return d.querySelector('[aria-current]').dataset.id")))
    assert open_now is not None
    viewing.what_is_known_stands_beside_it_and_another_viewer_is_a_link_away(page, open_now, OHIF)
    viewing.the_file_is_opened_in_the_system_s_own_viewer(page, open_now.path, tmp_path, monkeypatch)
    overlays_of_the_file_are_drawn_when_they_are_wanted(page, demo)
    more_like_this_asks_again(page)
    back_undoes_it_and_a_bookmark_leads_there(page, demo)
    a_region_of_a_dropped_image_is_searched_for(page, scans)
    dropped_files_are_classified_and_explained(page, scans)
    mapping.the_map_is_drawn_and_opens_images(page, demo)
    mapping.a_written_map_zooms_and_shows_pictures(page, demo, tmp_path)
    it_is_light_or_dark_as_chosen_and_axe_finds_nothing(page, demo)
    who_writes_before_the_page_is_ready_is_heard(page, demo)
    the_whole_page_goes_by_keyboard(page, demo)
    nobody_else_was_asked_and_nothing_went_wrong(page, demo)
    a_phone_and_the_dark(Page(browser, demo, tmp_path, **PHONE))


@pytest.mark.skipif(find_spec("umap") is None, reason="UMAP is not installed; pip install '.[map]'")
def test_umap_says_how_far_it_is_and_spreads(browser: Any, demo: Site, tmp_path: Path) -> None:
    mapping.umap_says_how_far_it_is_and_spreads(Page(browser, demo, tmp_path))


def neighbours_of(demo: Site, number: int) -> Neighbours:
    found = demo.desk.neighbours(number)
    assert found is not None
    return found


def a_search_shows_the_first_page(page: Page, demo: Site) -> None:
    assert "For research, not for clinical use." in page.page.inner_text("body")
    found = page.search("brain MRI")
    assert found == first_page(demo, "brain MRI") and f"{len(found)} of" in page.status
    page.shot("1-search")
    if SCANS.is_dir():
        # Every picture: of as many cases, more would show another part than there are brains.
        before = page.status
        page.page.get_by_label("One result per series or case").uncheck()
        found = page.answered(before)
        vectors = demo.desk.ask(lambda library: library.embeddings(np.array(found)))
        frames = demo.desk.ask(lambda library: library.frames.get(found))
        guesses = Guesses(demo.desk.encoder).guess("body_part", vectors)
        parts = [frames[number].body_part or guess for number, guess in zip(found, guesses, strict=True)]
        assert sum(part in HEADS for part in parts) >= 0.9 * len(found), parts
        before = page.status
        page.page.get_by_label("One result per series or case").check()
        page.answered(before)


def a_wide_screen_is_used(page: Page) -> None:
    page.page.set_viewport_size({"width": 1920, "height": 1080})
    cards = [card.bounding_box() for card in page.page.locator(".roco-card").all()[:12]]
    assert max(card["x"] + card["width"] for card in cards) > 0.95 * 1920 and len({card["x"] for card in cards}) >= 7
    page.shot("1-wide")
    page.page.set_viewport_size({"width": 1280, "height": 900})


def chips_say_what_was_understood_and_one_can_be_taken_away(page: Page) -> None:
    chips = page.page.locator(".roco-chip")
    page.search("brain MRI without pnuemonia")
    said = ["brain", "MRI", "not pneumonia", "“pnuemonia” read as “pneumonia”"]
    wait(page, f"document.querySelectorAll('.roco-chip').length === {len(said)}")
    assert sorted(text.removesuffix(" ×") for text in chips.all_inner_texts()) == sorted(said)
    page.shot("1-chips")
    before = page.status
    chips.filter(has_text="not pneumonia").click()
    page.answered(before)
    wait(page, "document.querySelectorAll('.roco-chip').length === 2")
    assert sorted(page.box.input_value().split()) == ["MRI", "brain"]
    page.search("pleural effusion")
    wait(page, "document.querySelector('.roco-said') !== null")
    first = page.page.locator(".roco-card", has=page.page.locator(".roco-said")).first
    assert CAPTION in first.locator(".roco-said").inner_text()
    assert "pleural effusion" in first.locator(".roco-why").inner_text()
    lengths = page.page.evaluate(
        "[...document.querySelectorAll('.roco-match .roco-track span')].map(s => parseFloat(s.style.width))"
    )
    assert len(lengths) == len(page.ids()) and lengths[0] > 0 and lengths == sorted(lengths, reverse=True), (
        "the best first"
    )
    word = first.locator(".roco-match span").last.inner_text()
    assert word in {"strong", "fair", "weak"} and f"{word} match" in str(first.get_attribute("aria-label"))
    page.shot("1-captions")
    page.search("brain MRI")


def filters_leave_only_what_they_name(page: Page, demo: Site) -> None:
    before = page.status
    page.page.locator("#roco-modality input").first.click()
    page.page.get_by_role("option", name="CT").first.click()
    found = page.answered(before)
    assert {frame.modality for frame in demo.desk.ask(lambda library: library.frames.get(found)).values()} == {"CT"}
    page.page.keyboard.press("Escape")
    page.shot("2-filtered")


def the_keyboard_alone_opens_moves_and_closes(page: Page, demo: Site) -> None:
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
    assert page.viewer("return d.querySelector('h2').textContent") == name_of(demo, found[0])
    page.shot("3-open")
    page.page.keyboard.press("ArrowRight")
    wait(page, f"document.querySelector('.roco-viewer h2').textContent === {name_of(demo, found[1])!r}")
    page.page.keyboard.press("Escape")
    assert not page.viewer("return d.open")
    assert page.focused() == str(found[0]), "and the focus is where it was"


def a_window_changes_the_picture_and_neighbours_follow(page: Page, demo: Site) -> None:
    found = page.ids()
    beside = {number: neighbours_of(demo, number) for number in found}
    series = next(number for number, others in beside.items() if others.kind == "series" and others.count > 2)
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
    key = "ArrowUp" if beside[series].place else "ArrowDown"
    page.page.keyboard.press(key)
    wait(page, f"document.querySelector('.roco-viewer [aria-current]').dataset.id !== '{before}'")
    page.page.get_by_role("button", name="lung").click()


def overlays_of_the_file_are_drawn_when_they_are_wanted(page: Page, demo: Site) -> None:
    frames = demo.desk.ask(lambda library: library.frames.get(range(1, 999))).values()
    number = next(frame.id for frame in frames if frame.path.endswith("examples_overlay.dcm"))
    box = page.page.get_by_label("Overlays of the file")
    assert not box.is_visible(), "the CT that is open has none"
    beside = page.viewer("return d.querySelector('[aria-current]').dataset.id")
    page.page.evaluate(f"roco.open({number})")
    box.check()
    wait(page, "document.querySelector('.roco-viewer [data-part=image]').src.includes('overlays=1')")
    page.shot("4-overlays")
    box.uncheck()
    seen = page.page.get_by_label("As the model sees it")
    seen.check()
    wait(page, "document.querySelector('.roco-viewer .roco-seen').naturalWidth === 192")
    assert "192 × 192 pixels" in page.page.locator("[data-part=seen-note]").inner_text() and not box.is_checked()
    page.shot("4-as-the-model-sees-it")
    seen.uncheck()
    wait(page, "!document.querySelector('.roco-viewer [data-part=image]').src.includes('overlays')")
    page.page.evaluate(f"roco.open({beside})")
    wait(page, f"document.querySelector('.roco-viewer [aria-current]').dataset.id === '{beside}'")


def more_like_this_asks_again(page: Page) -> None:
    current = int(page.viewer("return d.querySelector('[aria-current]').dataset.id"))
    before = page.status
    page.page.get_by_role("button", name="More like this").click()
    found = page.answered(before)
    assert "like" in page.status and current not in found and page.address["like"] == str(current)
    page.shot("5-like")


def dropped_files_are_classified_and_explained(page: Page, scans: Path) -> None:
    page.tab("Classify")
    page.page.get_by_role("button", name="Plane", exact=True).click()
    wait(page, "document.querySelector('#roco-told').innerText.includes('Drop an image first')")
    names = ["MR_small.dcm", "CT_small.dcm"]
    page.drop("#roco-classify-upload button", *(scans / name for name in (*names, "broken.png")))
    page.page.locator(".roco-bar").first.wait_for()
    values = [float(text.removesuffix(" %")) for text in page.page.locator(".roco-value").all_inner_texts()]
    assert (
        len(values) == len(SETS["Plane"][1])
        and sum(values) == pytest.approx(100, abs=0.3)
        and values == sorted(values, reverse=True)
    )
    page.page.locator(".roco-looked .roco-plain").wait_for(timeout=90_000)
    assert page.page.locator("[data-layer]:visible").count() == 1
    page.page.locator(".roco-bar").nth(2).click()
    assert page.page.locator("[data-layer]:visible").get_attribute("data-layer") == "2"
    page.page.locator(".roco-looked .roco-plain").click()
    assert page.page.locator("[data-layer]:visible").get_attribute("data-layer") == "plain"
    page.page.locator(".roco-bar").first.click()
    page.shot("6-classified")
    rows = page.page.locator(".roco-row")
    assert rows.locator(".roco-name").all_inner_texts() == names
    assert "broken.png" in page.page.locator("#roco-dropped").inner_text()
    rows.nth(1).focus()
    page.page.keyboard.press("Enter")
    wait(page, "document.querySelector('.roco-row[data-row=\"1\"]').getAttribute('aria-pressed') === 'true'")
    page.page.locator(".roco-looked .roco-plain").wait_for(timeout=90_000)
    assert page.page.locator("[data-layer]:visible img").get_attribute("alt").startswith("Heat map of")
    assert page.page.locator("[data-layer]:visible .roco-scale").is_visible()


def who_writes_before_the_page_is_ready_is_heard(page: Page, demo: Site) -> None:
    """The page asks for the library as soon as it is opened; the answer must not take the place of a search."""
    asked: list[Any] = []

    def hold_the_first(route: Any) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    page.page.route("**/queue/join*", hold_the_first)
    page.page.goto(f"{demo.url}/")
    page.box.fill("chest X-ray")
    while not asked:
        page.page.wait_for_timeout(50)
    page.box.press("Enter")
    page.page.wait_for_timeout(500)
    assert len(asked) == 1, "the search waits for its turn"
    asked[0].continue_()
    wait(page, "location.search === '?q=chest+X-ray'")
    page.settled()
    assert page.box.input_value() == "chest X-ray" and "library" not in page.status
    page.page.unroute("**/queue/join*")


def nobody_else_was_asked_and_nothing_went_wrong(page: Page, demo: Site) -> None:
    assert [url for url in page.requests if not url.startswith((demo.url, "data:", "blob:"))] == []
    assert page.errors == []
    nameless = page.page.evaluate(
        "[...document.querySelectorAll('.roco-card, .roco-viewer button, .roco-map button, .roco-bar')]"
        ".filter(b => !(b.getAttribute('aria-label') || b.textContent.trim())).length"
    )
    assert nameless == 0
    assert page.page.evaluate("[...document.images].filter(i => i.getAttribute('alt') === null).length") == 0


def a_phone_and_the_dark(phone: Page) -> None:
    wait(phone, "!document.querySelector('#roco-filters > button.open')")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390, "before anything is asked, too"
    assert phone.search("head")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.page.locator(".roco-card").nth(1).bounding_box()["y"] < 844, "results are in sight"
    background = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60, background
    phone.shot("8-phone")
    phone.page.locator(".roco-card").first.tap()
    wait(phone, "document.querySelector('.roco-viewer').open")
    assert phone.page.locator(".roco-viewer").bounding_box()["width"] == 390
    phone.shot("9-phone-open")
    body = "document.querySelector('.roco-viewer-body')"
    touch = phone.page.context.new_cdp_session(phone.page)
    for kind, y in (("touchStart", 400), *(("touchMove", y) for y in range(380, 100, -20))):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": 195, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait(phone, f"{body}.scrollTop > 100")
    phone.page.evaluate(f"{body}.scrollTo(0, 0)")
    pinch = {"x": 195, "y": 300, "scaleFactor": 2, "gestureSourceType": "touch"}
    touch.send("Input.synthesizePinchGesture", pinch)
    wait(phone, "document.querySelector('.roco-stage.roco-zoomed') !== null")
    phone.shot("9-phone-pinched")
    assert phone.errors == []
