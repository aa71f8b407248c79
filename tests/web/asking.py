"""Steps of the walk in `test_browser`: how the page begins, what its address finds again, what a dropped image asks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from roco_search.web.asking import PAGE, Conditions, Query
from tests.web.conftest import Site
from tests.web.page import Page, wait


def name_of(demo: Site, number: int) -> str:
    frame = demo.desk.frame(number)
    assert frame is not None
    return demo.desk.name(frame.path)


def first_page(demo: Site, text: str) -> list[int]:
    found = [number for number, _ in demo.desk.find(Query(text), Conditions()).hits]
    assert 12 <= len(found) <= PAGE
    return found


def the_page_begins_with_the_library(page: Page, demo: Site) -> None:
    own = sum(page.sizes.values())
    assert 100_000 < own < 3_000_000, "the page itself and the first pictures, compressed"
    every = demo.desk.browse(Query(), Conditions(), n=9999)
    newest = [number for number, _ in every.hits]
    assert page.ids() == newest[: len(page.ids())] and "last indexed" in page.status
    while len(page.ids()) < min(3 * PAGE, len(newest)):
        count = len(page.ids())
        page.page.mouse.wheel(0, 9000)
        wait(page, f"document.querySelectorAll('.roco-card').length > {count}")
    assert page.ids() == newest[: len(page.ids())], "it goes on as it is scrolled"
    page.page.evaluate("scrollTo(0, 0)")
    page.shot("0-start")
    tried = page.page.locator("#roco-start a").first
    text = tried.inner_text()
    before = page.status
    tried.click()
    page.answered(before)
    assert page.box.input_value() == text and page.address == {"q": text}
    page.page.go_back()
    page.settled()
    recent = page.page.locator("[data-part=recent] a")
    assert recent.all_inner_texts() == [text] and page.box.input_value() == ""
    page.page.get_by_role("button", name="Clear the recent searches").click()
    assert recent.count() == 0 and page.page.evaluate("localStorage.length") == 0
    before = page.status
    page.page.get_by_label("Order").select_option("kind")
    page.answered(before)
    assert page.address == {"order": "kind"} and page.page.locator(".roco-heading").count() > 1
    page.open(f"{demo.url}/")


def back_undoes_it_and_a_bookmark_leads_there(page: Page, demo: Site) -> None:
    liked, like = page.page.url, page.ids()
    page.page.go_back()
    page.settled()
    wait(page, "document.querySelector('.roco-viewer').open")
    current = page.address.pop("image")
    assert (
        page.box.input_value() == "brain MRI" and page.address["q"] == "brain MRI" and "CT" in page.address["modality"]
    )
    bookmark = page.page.url
    page.page.keyboard.press("Escape")
    wait(page, "!location.search.includes('image')")
    page.open(bookmark)
    wait(page, "document.querySelector('.roco-viewer h2').textContent !== ''")
    assert page.viewer("return d.querySelector('h2').textContent") == name_of(demo, int(current))
    assert page.page.locator("#roco-modality").get_by_text("CT", exact=False).count(), "the filter is set, too"
    page.page.keyboard.press("Escape")
    wait(page, "!document.querySelector('.roco-viewer').open && !location.search.includes('image')")
    page.open(liked)
    assert page.ids() == like
    page.open(f"{demo.url}/?q=head&every=1")
    like = page.ids()
    page.page.get_by_role("button", name="Show more").click()
    wait(page, f"document.querySelectorAll('.roco-card').length > {len(like)}")
    shown = page.ids()
    wait(page, f"location.search.includes('shown={len(shown)}')")
    page.page.reload()
    page.settled()
    assert page.ids() == shown, "as many as before"


def a_region_of_a_dropped_image_is_searched_for(page: Page, scans: Path) -> None:
    page.open(page.page.url.partition("?")[0])
    before = page.status
    page.drop("#roco-upload button", scans / "examples_overlay.dcm")
    page.answered(before)
    whole, found = page.address["upload"], page.ids()
    box = page.page.locator(".roco-crop")
    assert page.page.locator(".roco-crop img").evaluate("i => i.complete && i.naturalWidth > 0")
    box.scroll_into_view_if_needed()
    area, mouse = box.bounding_box(), page.page.mouse
    mouse.move(area["x"] + 0.5 * area["width"], area["y"] + 0.5 * area["height"])
    mouse.down()
    mouse.move(area["x"] + 0.9 * area["width"], area["y"] + 0.9 * area["height"], steps=3)
    mouse.up()
    wait(page, f"!location.search.includes('{whole}')")
    wait(page, "!document.querySelector('.roco-region').hidden")
    assert page.page.locator(".roco-crop").get_attribute("data-region").split()[:2] == ["50.0", "50.0"]
    page.shot("5-region")
    dragged = page.address["upload"]
    page.page.locator(".roco-crop").focus()
    page.page.keyboard.press("Shift+ArrowLeft")
    page.page.keyboard.press("Enter")
    wait(page, f"!location.search.includes('{dragged}')")
    page.page.get_by_role("button", name="Search for the whole image").click()
    wait(page, "document.querySelector('.roco-region').hidden")
    page.settled()
    assert page.ids() == found
    page.page.go_back()
    page.page.go_back()
    page.settled()
    wait(page, "!document.querySelector('.roco-region').hidden")
    assert page.address["upload"] == dragged, "Back finds the region again"
    page.page.get_by_role("button", name="Remove the image").click()
    wait(page, "!location.search.includes('upload')")
    assert page.page.locator(".roco-crop").count() == 0


def it_is_light_or_dark_as_chosen_and_axe_finds_nothing(page: Page, demo: Site) -> None:
    """Every tab, in light and in dark, which is remembered."""
    page.open(f"{demo.url}/?q=head+CT")
    theme = page.page.get_by_label("Theme")
    shade = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number))"
    for choice, as_chosen in (("light", f"{shade} > 200"), ("dark", f"{shade} < 60")):
        theme.select_option(choice)
        page.page.reload()
        page.settled()
        wait(page, f"document.body.classList.contains('dark') === {str(choice == 'dark').lower()}")
        assert theme.input_value() == choice, "it is remembered"
        wait(page, as_chosen)
        found = {"search": page.wrong()}
        page.shot(f"7-search-{choice}")
        page.page.locator(".roco-card").first.press("x")  # the tray stays open from here on
        page.page.get_by_role("button", name="Copy files…").click()
        found["tray"] = page.wrong()
        page.shot(f"7-tray-{choice}")
        page.page.locator(".roco-card").first.click()
        wait(page, "document.querySelector('.roco-viewer h2').textContent !== ''")
        page.page.keyboard.press("?")
        found["viewer"] = page.wrong()
        page.page.keyboard.press("?")
        page.page.keyboard.press("Escape")
        wait(page, "location.search === '?q=head+CT'")
        page.tab("Classify")
        found["classify"] = page.wrong()
        page.shot(f"7-classify-{choice}")
        page.tab("Library")
        wait(page, "document.querySelectorAll('.roco-legend button').length > 1")
        wait(page, "document.querySelectorAll('.roco-charts svg').length === 2")
        found["library"] = page.wrong()
        chart = Image.open(io.BytesIO(page.page.locator(".roco-charts figure").first.screenshot())).convert("L")
        assert (np.asarray(chart).mean() < 90) == (choice == "dark"), "the charts are as dark as the page"
        page.shot(f"7-library-{choice}")
        page.tab("Search")
        page.page.locator(".roco-tray").get_by_role("button", name="Clear").click()
        assert {name: wrong for name, wrong in found.items() if wrong} == {}, choice
    page.open(f"{demo.url}/")
    assert page.wrong() == [], "before anything is asked"
    theme.select_option("system")
    wait(page, "!document.body.classList.contains('dark') && localStorage.getItem('roco-theme') === null")


ZONE = """['.roco-viewer', '.roco-header', '[role=tab]', '#roco-text', '#roco-search', '#roco-filters',
    '#roco-understood', '#roco-gallery', '.roco-map'].find(zone => document.activeElement.closest(zone)) || ''"""


def tab_to(page: Page, wanted: str, key: str = "Tab") -> list[str]:
    """Press a key until the focus is in a part of the page; return the parts on the way there, each once."""
    passed: list[str] = []
    for _ in range(60):
        zone = page.page.evaluate(ZONE)
        passed += [zone] if zone and zone not in passed else []
        if zone == wanted:
            return passed
        page.page.keyboard.press(key)
    raise AssertionError(f"{wanted} is not reached: {passed}")


def the_whole_page_goes_by_keyboard(page: Page, demo: Site) -> None:
    """From the box to the hits in the order in which they are seen, into the viewer and back, and to the other tabs."""
    page.open(f"{demo.url}/")
    before, press = page.status, page.page.keyboard.press
    page.page.keyboard.type("head CT")
    press("Enter")
    page.answered(before)
    assert tab_to(page, "#roco-gallery") == [
        "#roco-text", "#roco-search", "#roco-filters", "#roco-understood", "#roco-gallery",
    ]  # fmt: skip
    card = page.focused()
    press("Enter")
    wait(page, "document.querySelector('.roco-viewer h2').textContent !== ''")
    for _ in range(4):
        press("Tab")
        assert page.page.evaluate(ZONE) == ".roco-viewer", "the page behind is out of reach"
    press("Escape")
    wait(page, "!location.search.includes('image')")
    assert page.focused() == card
    for _ in range(3):  # choose, wanted, unwanted
        press("Tab")
    assert page.page.evaluate("document.activeElement.dataset.sign") == "minus"
    tab_to(page, "[role=tab]", "Shift+Tab")
    while page.page.evaluate("document.activeElement.innerText") != "Library":
        press("ArrowRight")
    press("Enter")
    assert tab_to(page, ".roco-map")[0] == "[role=tab]"
