"""The measurement of a model, with figures that cannot be mistaken: each states its pool, direction and rule."""

from roco_search.evaluation.protocols import Retrieval, roco_v1, shuffled_32, whole_pool
from roco_search.statistics.bootstrap import Metric
from roco_search.statistics.ranks import Direction, Matching, mean_recall, ranks, summarize

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
