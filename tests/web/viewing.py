"""What a person does with an image that is open in the viewer, as steps of the walk in `test_browser`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom

from roco_search.library import StoredFrame
from roco_search.web.http.routes import CT_WINDOWS
from tests.web.page import Page, wait

IMAGE = "document.querySelector('.roco-viewer [data-part=image]')"
SLICE = "Number(document.querySelector('.roco-viewer [data-part=slice]').value)"
LINES = '#!/bin/sh\nprintf \'%s\\n\' "$#" "$1" > "$OPENED"\n'


def shown(page: Page, part: str) -> str:
    return str(page.page.locator(f".roco-viewer [data-part={part}]").inner_text())


def drag(page: Page, dx: int, dy: int) -> None:
    mouse, box = page.page.mouse, page.page.locator(".roco-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.move(x, y)
    mouse.down()
    for part in (1, 2, 3):
        mouse.move(x + dx * part / 3, y + dy * part / 3)
    mouse.up()


def the_hand_is_on_the_picture(page: Page) -> None:
    """The CT series that is open in the lung window is scrolled, windowed, zoomed and panned."""
    press = page.page.keyboard.press
    page.page.locator(".roco-stage").hover()
    before, behind = page.page.evaluate(SLICE), page.page.evaluate("scrollY")
    page.page.mouse.wheel(0, 100 if before < 3 else -100)
    wait(page, f"Math.abs({SLICE} - {before}) === 1 && {IMAGE}.complete")
    assert page.page.evaluate("scrollY") == behind, "the page behind stays where it is"
    wait(page, f"{IMAGE}.src.includes('center=-600')")
    drag(page, 60, 30)
    wait(page, f"!{IMAGE}.src.includes('center=-600') && {IMAGE}.src.includes('center=')")
    dragged = shown(page, "readout")
    assert dragged.startswith("W ") and dragged.endswith(" HU") and "-600" not in dragged
    at = page.page.evaluate(SLICE)
    press("ArrowUp" if at > 1 else "ArrowDown")
    wait(page, f"{SLICE} !== {at} && document.querySelector('.roco-viewer [aria-current]') !== null")
    assert shown(page, "readout") == dragged, "the chosen window stays in the series"

    larger = float(shown(page, "enlarged").partition("×")[0])
    page.page.locator(".roco-stage").dblclick()
    assert float(shown(page, "enlarged").partition("×")[0]) > 2 * larger
    transform = page.page.evaluate(f"{IMAGE}.style.transform")
    drag(page, 50, 20)
    assert page.page.evaluate(f"{IMAGE}.style.transform") != transform and shown(page, "readout") == dragged
    page.shot("4-zoomed")


def all_of_it_goes_by_keys(page: Page) -> None:
    press = page.page.keyboard.press
    press("r")
    wait(page, f"!{IMAGE}.src.includes('center=') && {IMAGE}.style.transform === ''")
    press("i")
    assert "inverted" in shown(page, "readout") and page.viewer("return d.querySelector('.roco-inverted') !== null")
    press("i")
    for number, (center, width) in enumerate(CT_WINDOWS.values(), 2):
        press(str(number))
        assert shown(page, "readout") == f"W {width:.0f} C {center:.0f} HU"
    press("1")
    wait(page, f"!{IMAGE}.src.includes('center=')")
    press("2")
    wait(page, f"{IMAGE}.src.includes('center=40&width=400')")
    press("+")
    assert page.page.evaluate(f"{IMAGE}.style.transform").endswith("scale(1.4)")
    press("-")
    press("Home")
    wait(page, f"{SLICE} === 1")
    page.page.locator(".roco-viewer [data-part=slice]").press("ArrowRight")
    wait(page, f"{SLICE} === 2")
    assert shown(page, "slice-shown").startswith("2 of")
    page.page.locator(".roco-viewer [data-do=like]").focus()
    press("PageDown")
    wait(page, f"{SLICE} > 2")
    press("?")
    assert page.page.locator("[data-part=keys]").is_visible() and "1 to 9" in shown(page, "keys")
    page.shot("4-keys")
    press("?")
    at = page.page.evaluate(SLICE)
    press("c")
    wait(page, f"{SLICE} !== {at}")
    press("c")
    wait(page, "document.querySelector('.roco-viewer [data-do=play]').textContent.includes('Play')")
    press("r")


def the_model_is_asked_where_it_sees_the_words(page: Page) -> None:
    page.page.keyboard.press("h")
    wait(page, f"{IMAGE}.src.includes('/heat/') && {IMAGE}.complete && {IMAGE}.naturalWidth > 0")
    wait(page, "document.querySelector('[data-part=heat-note]').textContent.startsWith('Red')")
    page.shot("4-heat")
    page.page.keyboard.press("h")
    wait(page, f"{IMAGE}.src.includes('size=')")


def what_is_known_stands_beside_it_and_another_viewer_is_a_link_away(
    page: Page, frame: StoredFrame, pattern: str
) -> None:
    link = page.page.locator(".roco-viewer [data-part=link]")
    study = pydicom.dcmread(frame.path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID
    assert link.get_attribute("href") == pattern.format(study=study)
    assert link.get_attribute("rel") == "noopener noreferrer"
    shown_by_a_card = page.ids()[0]
    page.page.evaluate(f"roco.open({shown_by_a_card}, roco.shown())")
    wait(page, f"document.querySelector('.roco-viewer [aria-current]')?.dataset.id === '{shown_by_a_card}'")
    card = page.page.locator(f'.roco-card[data-id="{shown_by_a_card}"]')
    facts = shown(page, "facts").split("\n")
    for name, part in (("Match", ".roco-match"), ("Score", ".roco-facts b")):
        assert facts[facts.index(name) + 1] == card.locator(part).text_content().strip(), "as the card says it"
    page.page.evaluate(f"roco.open({frame.id}, roco.shown())")
    wait(page, f"document.querySelector('.roco-viewer [aria-current]')?.dataset.id === '{frame.id}'")


def the_file_is_opened_in_the_system_s_own_viewer(page: Page, path: str, tmp_path: Path, monkeypatch: Any) -> None:
    """The opener is a script that notes what it was given."""
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(LINES)
    opener.chmod(0o755)
    opened = tmp_path / "opened"
    monkeypatch.setenv("OPENED", str(opened))
    monkeypatch.setenv("PATH", f"{opener.parent}:/usr/bin:/bin")
    page.page.get_by_role("button", name="Copy the path").click()
    wait(page, "document.querySelector('.roco-viewer [data-part=said]').textContent === 'Copied.'")
    assert shown(page, "path") == path
    page.page.get_by_role("button", name="Open here").click()
    wait(page, "document.querySelector('.roco-viewer [data-part=said]').textContent.startsWith('It opens')")
    while not opened.exists() or not opened.read_text().endswith("\n"):
        page.page.wait_for_timeout(20)
    assert opened.read_text().splitlines() == ["1", path]
