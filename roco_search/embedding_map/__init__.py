"""The 2-D map of a library: every picture is a point, and pictures that the model finds alike are close together."""

from roco_search.embedding_map.drawing import colours, figure, map_page, small_pictures, write_map
from roco_search.embedding_map.layout import (
    NOT_STATED,
    OTHERS,
    Color,
    EmbeddingMap,
    Groups,
    lay_out,
    make_map,
    read_pictures,
)
from roco_search.embedding_map.projection import Method, available_methods, project

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
    "lay_out",
    "make_map",
    "map_page",
    "project",
    "read_pictures",
    "small_pictures",
    "write_map",
]
