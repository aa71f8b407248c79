"""The one visual language of what roco draws: plots by matplotlib, and pages that hold everything in themselves."""

from .page import escape, is_ours, page, picture, write_page
from .plot import PALETTE, SEQUENTIAL, png, style, svg, write_png

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
