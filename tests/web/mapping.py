"""The map in the demo and on a page of its own, as steps of the walk in `test_browser`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from roco_search.embedding_map import lay_out, read_pictures, small_pictures, write_map
from roco_search.figures import data_uri
from roco_search.figures.contact_sheet import thumbnail
from tests.web.conftest import Site
from tests.web.page import Page, wait

LISTEN = """(() => {
    const { prototype } = CanvasRenderingContext2D, { fillText } = prototype;
    window.drawn = [];
    prototype.fillText = function (text, ...place) { drawn.push(text); return fillText.call(this, text, ...place); };
})()"""


def the_map_is_drawn_and_opens_images(page: Page, demo: Site) -> None:
    rounds = demo.desk.maps.rounds
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.page.route("**/map.json*", hold)
    page.tab("Library")
    rounds.start(500)
    rounds.advance(100)
    wait(page, "document.querySelector('[data-part=about]').textContent === 'Drawing the map: 20 %…'")
    rounds.stop()
    held[0].continue_()
    page.page.unroute("**/map.json*")
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
    page.page.evaluate(LISTEN)
    page.page.keyboard.press("0")
    regions = [region.name for region in demo.desk.maps.get("pca", guess=True).regions()]
    drawn = page.page.evaluate("drawn")
    assert regions[0] in drawn and set(drawn) <= set(regions), "regions have names"
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


def a_written_map_zooms_and_shows_pictures(page: Page, demo: Site, tmp_path: Path) -> None:
    found = lay_out(demo.desk.ask(partial(read_pictures, most=30)), "pca")
    write_map(tmp_path / "map.html", found, "modality", "Map", pictures=small_pictures(found))
    written = page.page.context.new_page()
    told: list[str] = []
    written.on("console", lambda message: told.append(message.text))
    written.on("request", lambda request: told.append(request.url) if not request.url.startswith("data:") else None)
    written.goto((tmp_path / "map.html").as_uri())
    assert written.locator(".map svg").bounding_box()["width"] > 0.85 * 1280, "it takes the width"
    written.locator(".map > div[tabindex]").focus()
    press, tip = written.keyboard.press, written.locator(".tip")
    for key in ("+", "ArrowRight", "ArrowDown"):
        press(key)
    assert "scale(1.5)" in written.locator("[id^=group-] g g").first.get_attribute("transform")
    assert tip.is_visible()
    name = tip.locator("span").inner_text().partition(" · ")[0]
    shown = tip.locator("img").get_attribute("src")
    frames = [frame for frame in found.frames if Path(frame.path).name == name]
    pictures = [thumbnail(frame.path, frame.frame, 96) for frame in frames]
    assert shown in [data_uri(picture) for picture in pictures if not isinstance(picture, str)], (
        "the picture of that file"
    )
    box = written.locator(".map svg").bounding_box()
    written.mouse.move(box["x"] + 200, box["y"] + 200)
    written.mouse.wheel(0, -300)
    wait_for = "t => !document.querySelector('[id^=group-] g g').getAttribute('transform').includes(t)"
    written.wait_for_function(wait_for, arg="scale(1.5)")
    press("0")
    assert "scale(1)" in written.locator("[id^=group-] g g").first.get_attribute("transform")
    assert told == [(tmp_path / "map.html").as_uri()], "nothing was asked for, and nothing was forbidden"
    written.close()


def umap_says_how_far_it_is_and_spreads(page: Page) -> None:
    page.tab("Library")
    wait(page, "document.querySelectorAll('.roco-legend button').length > 1")
    about = "document.querySelector('[data-part=about]')"
    page.page.evaluate(f"""window.told = []; new MutationObserver(() => told.push({about}.textContent))
        .observe({about}, {{ childList: true, characterData: true, subtree: true }})""")
    page.page.get_by_text("UMAP: slower").click()
    wait(page, f"{about}.textContent.startsWith('UMAP')")
    told = page.page.evaluate("told")
    shares = [int(text.split(": ")[1].split(" ")[0]) for text in told if "%" in text]
    assert shares and shares == sorted(shares) and told[0] == "Drawing the map…"
    page.shot("7-map-umap")
