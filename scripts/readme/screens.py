"""Take pictures of the demo: the real app in a real browser, over images that may be shown.

    python scripts/readme/screens.py [DIR [STEP ...]]

Without DIR it takes the three of the README and the manual. With it, it writes each part of the demo at 1920, 1280 and
390 pixels, in light and in dark, there, or only the parts that are named: to be looked at. It needs Chromium
(``apt-get install chromium``) and the development tools. The viewer is over the test files that come with pydicom's
package, all else over the example images.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom.data
from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
EXAMPLES = Path(__file__).parents[2] / "roco_search" / "examples"
SCANS = Path(pydicom.data.__file__).parent / "test_files"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
LARGEST = 350_000  # bytes of a picture in the README
SCREENS: dict[int, dict[str, Any]] = {
    1920: {"viewport": {"width": 1920, "height": 1080}},
    1280: {"viewport": {"width": 1280, "height": 860}},
    390: {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2},
}
Step = Callable[[Any], str]


def main(target: Path | None = None, *only: str) -> None:
    """Take the pictures of the README, or all of them to a folder, or of these steps only."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        shutil.copytree(EXAMPLES, f"{place}/examples")
        shutil.copytree(SCANS, f"{place}/scans", ignore=lambda _, names: {n for n in names if not n.endswith(".dcm")})
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        for name, every in (("examples", (start, search, classify, overview, tray)), ("scans", (viewer,))):
            steps = [step for step in every if (target or step in README) and (not only or step.__name__ in only)]
            if not steps:
                continue
            with running(Path(place), name) as address:
                if target is None:
                    take(browser.new_page(**SCREENS[1280]), address, steps, HERE, "demo-{name}.png")
                    continue
                target.mkdir(parents=True, exist_ok=True)
                for width, screen in SCREENS.items():
                    for scheme in ("light", "dark"):
                        page = browser.new_page(**screen, color_scheme=scheme)
                        take(page, address, steps, target, f"{{name}}-{width}-{scheme}.png")
                        page.close()
        browser.close()


@contextmanager
def running(place: Path, name: str) -> Iterator[str]:
    """Run the demo over a folder of `place`, and yield its address."""
    library = f"{place}/library-{name}"
    index = [sys.executable, "-m", "roco_search", "index", f"{place}/{name}", "--library", library, "--captions"]
    subprocess.run(index, check=False, capture_output=True)  # some of pydicom's are broken on purpose
    command = [sys.executable, "-m", "roco_search", "demo", "--port", "0", "--library", library]
    command += ["--redact-paths"] if name == "scans" else []  # the viewer shows where a file is
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = re.search(r"http://\S+/", process.stderr.readline())
        assert address is not None
        try:
            yield address[0]
        finally:
            process.terminate()


def take(page: Any, address: str, steps: Sequence[Step], folder: Path, pattern: str) -> None:
    """Walk through the app and write a picture of each step."""
    page.set_default_timeout(120_000)  # a busy machine takes its time
    for step in steps:
        page.goto(address)
        page.locator(".roco-card img").nth(2).wait_for()
        name = step(page)
        page.wait_for_function(
            "[...document.images].every(i => i.complete || !i.checkVisibility({contentVisibilityAuto: true}) ||"
            " i.getBoundingClientRect().top > innerHeight || i.getBoundingClientRect().bottom < 0)"
        )
        page.wait_for_timeout(700)
        path = folder / pattern.format(name=name)
        page.screenshot(path=path)
        if folder == HERE:
            Image.open(path).convert("RGB").save(path, optimize=True)
            assert path.stat().st_size < LARGEST, path


def ask(page: Any, text: str) -> None:
    """Search, and wait for the hits."""
    page.locator("#roco-text input").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_function("q => new URLSearchParams(location.search).get('q') === q", arg=text)


def start(page: Any) -> str:
    return "start"


def search(page: Any) -> str:
    ask(page, "chest X-ray")
    return "search"


def tray(page: Any) -> str:
    ask(page, "chest X-ray without pneumonia")
    for number in (1, 4):
        page.locator(".roco-pick").nth(number).click(modifiers=["Shift"])
    page.evaluate("scrollTo(0, 0)")
    return "tray"


def classify(page: Any) -> str:
    page.get_by_role("tab", name="Classify").click()
    files = sorted(path for path in EXAMPLES.rglob("*") if path.suffix in {".png", ".jpg"})
    page.locator("#roco-classify-upload input[type=file]").set_input_files(files[:60:20])
    page.locator(".roco-looked .roco-plain").wait_for(timeout=120_000)
    return "classify"


def overview(page: Any) -> str:
    page.get_by_role("tab", name="Library").click()
    page.wait_for_function("document.querySelectorAll('.roco-legend button').length > 1")
    page.locator("#roco-holdings svg").nth(1).wait_for()
    page.evaluate("document.querySelector('#roco-map-title').scrollIntoView()")
    return "map"


def viewer(page: Any) -> str:
    ask(page, "CT of the head")
    page.locator(".roco-card", has_text="CT · head").first.click()
    page.get_by_role("button", name="brain", exact=True).click()
    page.wait_for_function("document.querySelector('.roco-viewer [data-part=image]').src.includes('width=80')")
    page.evaluate("document.querySelector('.roco-viewer-body').scrollTo(0, 0)")
    return "viewer"


README = (search, viewer, overview)

if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None, *sys.argv[2:])
