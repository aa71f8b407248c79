"""Plots are the same file for the same numbers; pages hold everything and ask for nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html import unescape
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from roco_search.errors import InputError
from roco_search.figures import PALETTE, mark_safe, page, png, style, svg, write_page, write_png


def plot(title: str = "a < b") -> Figure:
    with style() as figure:
        drawn = figure(figsize=(4, 2))
        drawn.subplots().plot([1, 2, 3], [3, 1, 2])
        drawn.axes[0].set_title(title)
    return drawn


def test_the_same_numbers_are_the_same_file() -> None:
    assert png(plot()) == png(plot())
    assert svg(plot()) == svg(plot())


def test_the_style_is_left_behind() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    assert plot().axes[0].lines[0].get_color() == PALETTE[0]
    assert dict(mpl.rcParams) == before


def test_a_png_is_a_picture_on_white(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", plot())
    image = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))
    assert image.size == (4 * 144, 2 * 144)
    assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    with pytest.raises(InputError, match="cannot be written"):
        write_png(tmp_path / "no" / "a.png", plot())


def test_a_page_with_a_plot_requests_nothing_and_allows_its_own_styles_only() -> None:
    drawn = svg(plot())
    text = page("report", "T", drawn)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', unescape(text))
    assert policy is not None and "default-src 'none'" in policy[1] and "script" not in policy[1]
    styles = re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
    assert policy[1].count("sha256-") == len(styles) == 2
    assert "a &lt; b" in drawn, "text stays text"
    assert not re.search(r"(src|href)=\"(?!data:|#)", text.replace("http://www.w3.org", ""))


def test_a_page_runs_the_script_that_it_was_given_and_no_other() -> None:
    own = "document.title = '<1>';"
    text = page("map", "T", mark_safe("<p>a</p>"), own)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', unescape(text))
    hashed = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert policy is not None and f"script-src 'sha256-{hashed}'; " in policy[1] and policy[1].count("script-src") == 1
    assert text.count("<script") == 1 and f"<script>{own}</script>" in text


def test_only_pages_of_the_same_kind_are_overwritten(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", "report", page("report", "one", mark_safe("")))
    write_page(tmp_path / "a.html", "report", page("report", "two", mark_safe("")))
    assert "two" in (tmp_path / "a.html").read_text()
    with pytest.raises(InputError, match="not a roco contact sheet"):
        write_page(tmp_path / "a.html", "contact sheet", page("contact sheet", "three", mark_safe("")))
    assert (tmp_path / "a.html").stat().st_mode & 0o077 == 0
