"""The one visual language of what roco draws: plots by matplotlib, and pages that hold everything in themselves."""

from roco_search.figures.page import escape, is_ours, page, picture, write_page
from roco_search.figures.plot import PALETTE, SEQUENTIAL, png, style, svg, write_png

__all__ = [
    "PALETTE",
    "SEQUENTIAL",
    "escape",
    "is_ours",
    "page",
    "picture",
    "png",
    "style",
    "svg",
    "write_page",
    "write_png",
]
