"""Three questions of those who curate a data set: what is like this, what occurs twice, what is odd in its folder."""

from roco_search.curation.duplicates import Copy, Duplicates, Group, find_duplicates
from roco_search.curation.outliers import Outlier, Outliers, find_outliers
from roco_search.curation.similar import find_similar

__all__ = [
    "Copy",
    "Duplicates",
    "Group",
    "Outlier",
    "Outliers",
    "find_duplicates",
    "find_outliers",
    "find_similar",
]
