"""A model measured so that a number cannot be confused: every figure knows its pool, its direction and its rule."""

from .bootstrap import Metric
from .metrics import Direction, Matching, mean_recall, ranks, summarize
from .protocols import Retrieval, roco_v1, shuffled_32, whole_pool

__all__ = [
    "Direction",
    "Matching",
    "Metric",
    "Retrieval",
    "mean_recall",
    "ranks",
    "roco_v1",
    "shuffled_32",
    "summarize",
    "whole_pool",
]
