"""The 2-D map of a library: every picture a point, so that what the model finds alike lies together."""

from .drawing import colours, figure, map_page, write_map
from .grouping import NOT_STATED, OTHERS, Color, Groups
from .layout import EmbeddingMap, make_map
from .projection import Method, available_methods, project

__all__ = [
    "NOT_STATED",
    "OTHERS",
    "Color",
    "EmbeddingMap",
    "Groups",
    "Method",
    "available_methods",
    "colours",
    "figure",
    "make_map",
    "map_page",
    "project",
    "write_map",
]
