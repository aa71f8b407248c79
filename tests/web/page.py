"""A page of the demo in a real browser, and how a test looks and types."""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.web.conftest import Site

FOUND = find_spec("axe_playwright_python")
AXE = Path(FOUND.origin).with_name("axe.min.js") if FOUND and FOUND.origin else None


class Page:
    """A page of the demo, which notes what it asks for and what goes wrong in it."""

    def __init__(self, browser: Any, site: Site, screens: Path, **context: Any) -> None:
        self.screens = Path(os.environ.get("ROCO_SCREENS", screens))
        self.page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}).new_page()
        self.page.set_default_timeout(120_000)  # a busy machine takes its time
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.sizes: dict[str, float] = {}
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", self._note_failure)
        self.network = self.page.context.new_cdp_session(self.page)
        self.network.send("Network.enable")
        self.network.on("Network.loadingFinished", self._note_size)
        self.open(f"{site.url}/")

    def open(self, address: str) -> None:
        """Go to an address, and wait until what it asks for is shown."""
        self.page.goto(address)
        self.box.wait_for()
        self.settled()

    def settled(self) -> None:
        """Wait until the gallery is the one that the address asks for."""
        self.page.wait_for_function(
            """() => {
                const found = document.querySelector('.roco-found');
                const plain = (text) => {
                    const left = new URLSearchParams(text);
                    left.delete('image');
                    left.delete('shown');
                    return left.toString();
                };
                return found && plain(found.dataset.address) === plain(location.search)
                    && !document.querySelector('#roco-status').innerText.includes('Reading');
            }""",
            timeout=60_000,
        )

    def _note_size(self, event: dict[str, Any]) -> None:
        self.sizes[event["requestId"]] = event["encodedDataLength"]

    def _note_failure(self, response: Any) -> None:
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")

    @property
    def box(self) -> Any:
        return self.page.locator("#roco-text input")

    @property
    def address(self) -> dict[str, str]:
        """What stands in the address, in words."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    @property
    def status(self) -> str:
        """What is said above the hits; those that are shown now are known by it as the ones before, see `answered`."""
        self.page.evaluate("document.querySelectorAll('.roco-found').forEach(found => { found.dataset.seen = '' })")
        return str(self.page.locator("#roco-status").inner_text())

    def search(self, text: str) -> list[int]:
        before = self.status
        self.box.fill(text)
        self.box.press("Enter")
        return self.answered(before)

    def answered(self, before: str) -> list[int]:
        """Wait until the page says something else, of the images that it shows, and all in sight have come."""
        from playwright import sync_api

        with suppress(sync_api.TimeoutError):  # two answers of equal length and equal time are one sentence
            script = (
                "before => document.querySelector('#roco-status').innerText !== before"
                " || document.querySelector('.roco-found:not([data-seen])') !== null"
            )
            self.page.wait_for_function(script, arg=before, timeout=8_000)
        self.page.wait_for_function(
            """() => {
                const list = document.querySelector('.roco-cards');
                const said = document.querySelector('#roco-status').innerText.trim();
                return list && list.getAttribute('aria-label') === said;
            }"""
        )
        self.page.wait_for_function(
            "[...document.querySelectorAll('.roco-card img')].every(i => i.complete && i.naturalWidth > 0 ||"
            " i.getBoundingClientRect().top > innerHeight)"
        )
        return self.ids()

    def ids(self) -> list[int]:
        return list(
            self.page.evaluate("[...document.querySelectorAll('.roco-card')].map(card => Number(card.dataset.id))")
        )

    def shot(self, name: str) -> None:
        """Keep a picture of the page, for whoever wants to look at it: a second each."""
        if "ROCO_SCREENS" in os.environ:
            self.page.screenshot(path=self.screens / f"{name}.png")

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.dataset.id || document.activeElement.tagName"))

    def viewer(self, script: str) -> Any:
        return self.page.evaluate(f"(() => {{ const d = document.querySelector('.roco-viewer'); {script} }})()")

    def wrong(self) -> list[str]:
        """What axe finds on the page as it is: each rule that is broken, with the elements that break it."""
        assert AXE is not None, "axe is not installed; pip install axe-playwright-python"
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [f"{one['id']}: {[node['html'][:200] for node in one['nodes']]}" for one in found]

    def drop(self, selector: str, *files: Path) -> None:
        """Let files fall on an element, as from the desktop."""
        data = [[base64.b64encode(file.read_bytes()).decode(), file.name] for file in files]
        self.page.evaluate(
            """([selector, files]) => {
                const dropped = new DataTransfer();
                for (const [data, name] of files) {
                    dropped.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name));
                }
                const target = document.querySelector(selector);
                for (const kind of ['dragenter', 'dragover', 'drop']) {
                    target.dispatchEvent(new DragEvent(kind, {dataTransfer: dropped, bubbles: true, cancelable: true}));
                }
            }""",
            [selector, data],
        )


def wait(page: Page, script: str) -> None:
    page.page.wait_for_function(script, timeout=60_000)
