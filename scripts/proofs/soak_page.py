"""One page of the demo in a browser for a long time: its memory and the server's stay flat.

    scripts/soak --searches 0 --count 0 --page-searches 1000 --page-images 2000

A person searches `--page-searches` times and opens `--page-images` of the hits, in one tab of headless Chromium. The
page's memory is its heap after a collection, with its elements and listeners; the server's is what the process holds
of its own.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from counting import Proof

ALLOWED = 1.10
FIGURES = {"JSHeapUsedSize": "heap", "Nodes": "nodes", "JSEventListeners": "listeners"}
WORDS = ("chest x-ray", "CT of the head", "brain MRI", "knee", "liver", "pleural effusion", "hand", "ultrasound")


def write_images(folder: Path, count: int, seed: int) -> None:
    """Write pictures of noise and shapes, so that each is another file."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        coarse = chance.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


SEARCH = """async (text) => {
    const box = document.querySelector('#roco-text input');
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, text);
    box.dispatchEvent(new Event('input', {bubbles: true}));
    box.dispatchEvent(new KeyboardEvent('keypress', {key: 'Enter', bubbles: true}));
    const asked = () => new URLSearchParams((document.querySelector('.roco-found') || {dataset: {}}).dataset.address);
    while (asked().get('q') !== text || new URLSearchParams(location.search).get('q') !== text)
        await new Promise(requestAnimationFrame);
    return roco.shown();
}"""
"""Searches, waits for the hits, and returns their ids. The text isn't typed: of all that is typed into a box, Chromium
keeps a node for its Undo, up to a thousand, and that is no growth of the page's."""
OPEN = """async (id) => {
    roco.open(id, roco.shown());
    const viewer = document.querySelector('.roco-viewer'), image = viewer.querySelector('[data-part=image]');
    while (!(image.src.includes('size=1280') && image.complete && image.naturalWidth))
        await new Promise(requestAnimationFrame);
    viewer.close();
    while (location.search.includes('image=')) await new Promise(requestAnimationFrame);
}"""


def soak_page(proof: Proof, process: Any, port: int, chance: random.Random) -> None:
    """Search and open in one page of the demo that `process` serves at `port`."""
    from playwright import sync_api

    from tests.web.conftest import CHROMIUM, QUIET, Site
    from tests.web.page import Page

    site = Site(None, proof.folder, port, proof.folder)  # type: ignore[arg-type]
    asked, opened = proof.sizes["page_searches"], proof.sizes["page_images"]
    each = max(1, opened // max(1, asked))
    seen: list[dict[str, float]] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = Page(browser, site, proof.folder)
        tab = page.page.context.new_cdp_session(page.page)
        tab.send("Performance.enable")
        for number in range(asked):
            if proof.over:
                break
            if number % max(1, asked // 40) == 0:
                seen.append(_memory(tab, process))
            shown = page.page.evaluate(SEARCH, f"{chance.choice(WORDS)} {number}")
            proof.counts["searches in a page"] += 1
            for _ in range(each):
                page.page.evaluate(OPEN, chance.choice(shown))
                proof.counts["images opened in a page"] += 1
        seen.append(_memory(tab, process))
        for error in page.errors[:5]:
            proof.fail(f"the page met an error: {error}")
        browser.close()
    for name in seen[0]:
        early, late = (sorted(one[name] for one in part)[len(part) // 2] for part in (_second_tenth(seen), seen[-4:]))
        half = seen[len(seen) // 2][name]
        steps = " to ".join(_shown(name, value) for value in (early, half, late))
        proof.notes.append(f"{name}: {steps} ({late / early - 1:+.1%})")
        if late > early * ALLOWED:
            proof.fail(f"{name} grew from {_shown(name, early)} to {_shown(name, late)}")


def _shown(name: str, value: float) -> str:
    return f"{value / 2**20:.1f} MiB" if name in {"heap", "server"} else f"{value:.0f}"


def _second_tenth(seen: list[dict[str, float]]) -> list[dict[str, float]]:
    tenth = max(1, len(seen) // 10)
    return seen[tenth : 2 * tenth] or seen[:1]


def _memory(tab: Any, process: Any) -> dict[str, float]:
    tab.send("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in tab.send("Performance.getMetrics")["metrics"]}
    status = Path(f"/proc/{process.pid}/status").read_text()
    server = int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]
    return {**{short: metrics[name] for name, short in FIGURES.items()}, "server": server}
