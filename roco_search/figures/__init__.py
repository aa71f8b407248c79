"""The one visual language of what roco draws: plots by matplotlib, and HTML by templates that escape."""

from roco_search.figures.page import data_uri, is_ours, mark_safe, page, render, write_page
from roco_search.figures.plot import PALETTE, SEQUENTIAL, png, style, svg, write_png

__all__ = [
    "PALETTE",
    "SEQUENTIAL",
    "data_uri",
    "is_ours",
    "mark_safe",
    "page",
    "png",
    "render",
    "style",
    "svg",
    "write_page",
    "write_png",
]
