"""A copy of a library in an engine that somebody has already: PostgreSQL with pgvector, or Milvus.

It is written, and compared with the exact answers, when the user names its address; no query of roco goes through it.
The SQL of `postgresql` is the one SQL outside `library/truth`, because it is another database's.
"""

from roco_search.mirror.check import Check, FilterCheck
from roco_search.mirror.run import Mirrored, mirror

__all__ = ["Check", "FilterCheck", "Mirrored", "mirror"]
