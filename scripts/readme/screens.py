"""Take the README's pictures of the demo: the real app in a real browser, over images that may be shown.

    python scripts/readme/screens.py

It needs Chromium (``apt-get install chromium``) and the development tools. The search and the map are over the example
images, the viewer over the test files that come with pydicom's package.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom.data
from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
EXAMPLES = Path(__file__).parents[2] / "roco_search" / "examples"
SCANS = Path(pydicom.data.__file__).parent / "test_files"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
LARGEST = 300_000  # bytes


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(EXAMPLES, f"{place}/examples")
        shutil.copytree(SCANS, f"{place}/scans", ignore=lambda _, names: {n for n in names if not n.endswith(".dcm")})
        for name, steps in (("examples", (search, overview)), ("scans", (viewer,))):
            library = f"{place}/library-{name}"
            index = [
                sys.executable,
                "-m",
                "roco_search",
                "index",
                f"{place}/{name}",
                "--library",
                library,
                "--captions",
            ]
            subprocess.run(index, check=False)  # some of pydicom's are broken on purpose
            command = [sys.executable, "-m", "roco_search", "demo", "--port", "0", "--library", library]
            command += ["--redact-paths"] if name == "scans" else []  # the viewer shows where a file is
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
                assert running.stderr is not None
                address = re.search(r"http://\S+/", running.stderr.readline())
                assert address is not None
                try:
                    take(address[0], Path(place), steps)
                finally:
                    running.terminate()


def take(address: str, place: Path, steps: Sequence[Callable[[Any], str]]) -> None:
    """Walk through the app and write a picture of each step."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(address)
        page.locator("#roco-text input").wait_for()
        page.wait_for_timeout(500)
        for step in steps:
            name = step(page)
            page.screenshot(path=place / f"{name}.png")
            target = HERE / f"demo-{name}.png"
            Image.open(place / f"{name}.png").convert("RGB").save(target, optimize=True)
            assert target.stat().st_size < LARGEST, target
        browser.close()


def search(page: Any) -> str:
    page.locator("#roco-text input").fill("chest X-ray")
    page.keyboard.press("Enter")
    page.locator(".roco-card").nth(10).wait_for()
    page.wait_for_timeout(2500)
    return "search"


def overview(page: Any) -> str:
    page.get_by_role("tab", name="Library").click()
    page.wait_for_function("document.querySelectorAll('.roco-legend button').length > 1")
    page.wait_for_timeout(1000)
    page.locator("#roco-map-title").scroll_into_view_if_needed()
    page.mouse.wheel(0, 700)
    page.wait_for_timeout(500)
    return "map"


def viewer(page: Any) -> str:
    page.locator("#roco-text input").fill("CT of the head")
    page.keyboard.press("Enter")
    page.locator(".roco-card", has_text="CT · head").first.click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="brain", exact=True).click()
    page.wait_for_timeout(1500)
    return "viewer"


if __name__ == "__main__":
    main()
