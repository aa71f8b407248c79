"""How soon the page answers."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.library import Library
from tests.library.toy import Builder
from tests.web.conftest import Site
from tests.web.page import Page


@pytest.mark.slow
def test_ten_thousand_images_answer_at_once(
    browser: Any, indexed: Path, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    many(indexed, tmp_path / "library", 10_000)
    command = [sys.executable, "-m", "roco_search", "demo", "--port", "0", "--library", str(tmp_path / "library")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as running:
        assert running.stderr is not None
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", running.stderr.readline())
        assert match is not None
        try:
            page = Page(browser, Site(None, tmp_path, int(match[1]), tmp_path), tmp_path)  # type: ignore[arg-type]
            page.search("brain MRI")
            queries = ("chest X-ray", "liver", "hand", "knee", "spine CT", "abdomen", "breast ultrasound")
            times: list[float] = []
            while len(times) < 28 and (len(times) < 7 or min(times) >= LIMIT):
                times.append(page.page.evaluate(MEASURE, queries[len(times) % 7]))
        finally:
            running.terminate()
    record_property("milliseconds", times)
    with capsys.disabled():
        print(f" {[round(t) for t in times]} ms in the page, median {statistics.median(times):.0f} ms", end=" ")
    # The best of seven, or of more where others keep the machine busy: what else it does is not ours.
    assert min(times) < LIMIT, times


# Milliseconds: 150 alone (`pytest tests/web/test_speed.py`); 300 beside another worker, which takes half the machine.
LIMIT = 300 if "PYTEST_XDIST_WORKER" in os.environ else 150
MEASURE = """async (text) => {
    const box = document.querySelector('#roco-text input');
    const first = () => (document.querySelector('.roco-card') || {}).outerHTML;
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, text);
    box.dispatchEvent(new Event('input', {bubbles: true}));
    await new Promise(resolve => setTimeout(resolve, 600));
    const before = first();
    const start = performance.now();
    box.dispatchEvent(new KeyboardEvent('keypress', {key: 'Enter', bubbles: true}));
    return await new Promise(resolve => {
        const seen = new MutationObserver(() => {
            if (first() !== before) { seen.disconnect(); resolve(performance.now() - start); }
        });
        seen.observe(document.body, {childList: true, subtree: true, characterData: true});
    });
}"""


def many(source: Path, target: Path, count: int) -> None:
    """Copy a library and add files to it, each with the vector of a real one and some noise."""
    shutil.copytree(source, target)
    chance = np.random.default_rng(0)
    with Library.open(target) as library:
        vectors, frames = library.embeddings(), list(library.frames.get(library.embedded().tolist()).values())
        with Builder.of(target) as builder:
            for number in range(1, count - len(frames) + 1):
                frame = frames[number % len(frames)]
                path = f"{Path(frame.path).parent}/./{number}/../{Path(frame.path).name}"
                vector = vectors[number % len(frames)] + 0.05 * chance.normal(size=vectors.shape[1])
                unit = (vector / np.linalg.norm(vector)).astype(np.float32)
                builder.add(path, number, [unit], modality=frame.modality, body_part=frame.body_part)
