"""Take the README's pictures of the demo: the real app in a real browser, over pydicom's own test files.

    python scripts/readme/screens.py

It needs Chromium (``apt-get install chromium``) and the development tools. What it shows may be shown: the test files
come with pydicom's package.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pydicom.data
from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
SCANS = Path(pydicom.data.__file__).parent / "test_files"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
LARGEST = 300_000  # bytes


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        library = f"{place}/library"
        index = [
            sys.executable,
            "-m",
            "roco_search",
            "index",
            *map(str, sorted(SCANS.glob("*.dcm"))),
            "--library",
            library,
        ]
        subprocess.run(index, check=False)  # some of them are broken on purpose
        command = [sys.executable, "-m", "roco_search", "demo", "--port", "0", "--library", library]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            address = re.search(r"http://\S+/", running.stderr.readline())
            assert address is not None
            try:
                take(address[0], Path(place))
            finally:
                running.terminate()


def take(address: str, place: Path) -> None:
    """Walk through the app and write a picture of each tab."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(address)
        search(page)
        page.screenshot(path=place / "search.png")
        viewer(page)
        page.screenshot(path=place / "viewer.png")
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Library").click()
        page.wait_for_function("document.querySelectorAll('.roco-legend button').length > 1")
        page.wait_for_timeout(1000)
        page.locator("#roco-map-title").scroll_into_view_if_needed()
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(500)
        page.screenshot(path=place / "map.png")
        browser.close()
    for name in ("search", "viewer", "map"):
        target = HERE / f"demo-{name}.png"
        Image.open(place / f"{name}.png").convert("RGB").save(target, optimize=True)
        assert target.stat().st_size < LARGEST, target


def search(page: Any) -> None:
    page.locator("#roco-text input").wait_for()
    page.wait_for_timeout(500)
    page.locator("#roco-text input").fill("brain MRI")
    page.keyboard.press("Enter")
    page.locator(".roco-card").nth(11).wait_for()
    page.wait_for_timeout(2500)


def viewer(page: Any) -> None:
    page.locator(".roco-card", has_text="CT · head").first.click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="brain", exact=True).click()
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    main()
