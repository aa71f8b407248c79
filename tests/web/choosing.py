"""How a person gathers images and takes them along, as steps of the walk in `test_browser`."""

from __future__ import annotations

import re
from pathlib import Path

from roco_search.curation.cohorts.shelf import SHELF as COHORTS
from tests.web.conftest import Site
from tests.web.page import Page, wait


def count(page: Page, number: int) -> None:
    wait(page, f"document.querySelector('.roco-tray [data-part=count]')?.textContent === '{number} chosen'")


def images_are_chosen_by_mouse_and_keys_and_go_on_together(page: Page, demo: Site, tmp_path: Path) -> None:
    found = page.ids()
    cards, tray = page.page.locator(".roco-card"), page.page.locator(".roco-tray")
    wait(page, f"document.querySelectorAll('.roco-pick').length === {len(found)}")
    cards.nth(1).hover()
    page.page.locator(".roco-pick").nth(1).click()
    count(page, 1)
    page.page.locator(".roco-pick").nth(4).click(modifiers=["Shift"])
    count(page, 4)
    cards.nth(6).focus()
    page.page.keyboard.press("x")
    count(page, 5)
    page.page.keyboard.press("Space")
    count(page, 4)
    assert not page.page.locator(".roco-viewer[open]").count(), "the space bar chooses and does not open"
    assert page.page.locator(".roco-pick").nth(2).get_attribute("aria-pressed") == "true"
    page.shot("1-tray")

    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tray.get_by_role("button", name="Copy paths").click()
    wait(page, "document.querySelector('.roco-tray [data-part=said]').textContent.startsWith('The paths')")
    frames = demo.desk.ask(lambda library: library.frames.get(found[1:5]))
    paths = [frames[number].path for number in found[1:5]]
    assert page.page.evaluate("navigator.clipboard.readText()").splitlines() == list(dict.fromkeys(paths))
    with page.page.expect_download() as saved:
        tray.get_by_role("button", name="CSV").click()
    lines = Path(saved.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == 5 and all(path in line for path, line in zip(paths, lines[1:], strict=True))

    with page.page.expect_download() as saved:
        tray.get_by_role("button", name="Contact sheet").click()
    sheet = Path(saved.value.path()).read_text("utf-8")
    assert sheet.count("<img") == 4 and all(Path(path).name in sheet for path in paths)

    tray.get_by_role("button", name="Cohort…").click()
    page.page.keyboard.type("picked here")
    page.page.keyboard.press("Enter")
    wait(page, "document.querySelector('.roco-tray [data-part=said]').textContent.startsWith('Kept as the cohort')")
    assert "picked here" in demo.desk.ask(COHORTS.names)

    tray.get_by_role("button", name="Copy files…").click()
    assert tray.get_by_label("Name of the cohort").is_hidden(), "one form at a time"
    folder = tmp_path / "chosen"
    tray.get_by_label("Folder on this computer").fill(str(folder))
    page.page.keyboard.press("Enter")
    wait(page, "document.querySelector('.roco-tray [data-part=said]').textContent.includes('copied to')")
    copies = sorted(folder.iterdir())
    assert [copy.read_bytes() for copy in copies] == [Path(path).read_bytes() for path in dict.fromkeys(paths)]
    page.shot("1-tray-copied")


def an_image_is_wanted_and_another_is_not(page: Page) -> None:
    """Plus brings what is like an image, minus takes it away, and both can be taken back."""
    found = page.ids()
    before = page.status
    page.page.locator(".roco-card").nth(2).hover()
    page.page.locator(f'.roco-card[data-id="{found[2]}"] ~ .roco-feed[data-sign="plus"]').click()
    assert found[2] not in page.answered(before), "what was marked stands above the hits"
    assert "1 marked as wanted, 0 as unwanted" in page.status and f"plus={found[2]}" in page.page.url
    other, before = page.ids()[1], page.status
    page.page.locator(f'.roco-card[data-id="{other}"]').hover()
    page.page.locator(f'.roco-card[data-id="{other}"] ~ .roco-feed[data-sign="minus"]').click()
    assert other not in page.answered(before)
    page.shot("1-fed")
    for _ in range(2):
        before = page.status
        page.page.locator(".roco-fed .roco-feed").first.click()
        page.answered(before)
    assert page.ids() == found and "plus" not in page.page.url


def marks_are_kept_and_found_again(page: Page, demo: Site) -> None:
    """As a cohort, and as what `roco session list` lists; the first page offers that."""
    before = page.status
    page.page.locator(".roco-card").nth(1).hover()
    page.page.locator('.roco-feed[data-sign="plus"]').nth(1).click()
    found = page.answered(before)
    form, name = page.page.locator(".roco-fed"), page.page.get_by_label("Keep these marks as")
    said = "document.querySelector('.roco-fed [role=status]').textContent.includes('{}')"
    name.fill("mine")
    assert form.get_by_role("button", name="Probe").is_visible(), "which is pressed in http/test_chosen"
    form.get_by_role("button", name="Cohort").click()
    wait(page, said.format("Kept as the cohort"))
    name.press("Enter")
    wait(page, said.format("Kept as the session"))
    page.shot("1-marks")
    asked = page.address
    page.open(f"{demo.url}/")
    before = page.status
    page.page.get_by_role("link", name="mine", exact=True).click()
    assert page.answered(before) == found and page.address == asked


def the_tray_outlives_a_search_and_a_reload(page: Page) -> None:
    count(page, 4)
    page.page.reload()
    page.settled()
    count(page, 4)
    kept = page.page.evaluate("Object.values(sessionStorage).join()")
    assert re.fullmatch(r"\[\d+,\d+,\d+,\d+\]", kept), "no name of a file"
    page.page.locator(".roco-tray").get_by_role("button", name="Clear").click()
    assert not page.page.locator(".roco-tray").is_visible()
    assert not page.page.locator('.roco-pick[aria-pressed="true"]').count()
    assert page.page.evaluate("sessionStorage.length") == 0
