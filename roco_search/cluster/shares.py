"""Handing out shards to workers that can be lost: whoever loses one costs its unfinished parts, and another goes on."""

from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from roco_search.errors import RocoError
from roco_search.library.ingest.manifest import Shard, manifests
from roco_search.system.progress import Progress, following

TRIES = 3  # times that a shard may lose its worker: more is no accident, such as too little memory for a model
LEAST, EACH = 8, 4  # shards at least, and for each worker: what a lost worker leaves is shared by the others


class Lost(Exception):
    """A worker is gone, or another process holds the shard."""


class Pool(Protocol):
    """Workers, each with a model loaded once.

    Attributes
    ----------
    size
        The number of shards that can be in work at one time.
    """

    size: int

    def begin(self, shard: Shard) -> None:
        """Give a shard to an idle worker, or to a new one."""

    def wait(self) -> tuple[Shard, RocoError | Lost | None]:
        """Wait until some shard is done, and return it with what went wrong."""

    def release(self) -> None:
        """Give up idle workers, for which there is nothing left; their room may be needed by one that is to start."""


def shards_of(parts: Path, workers: int) -> list[Shard]:
    """Return the shards to run: as many as there are in a folder of parts already."""
    known = manifests(parts)[:1] if parts.is_dir() else []
    of = known[0].shard.of if known else max(LEAST, EACH * workers)
    return [Shard(number, of) for number in range(of)]


def run_shards(pool: Pool, shards: Sequence[Shard], progress: Progress | None = None) -> None:
    """Run every shard once, and again where its worker was lost.

    Raises
    ------
    RocoError
        What a shard met that no other worker would mend, or that it lost `TRIES` workers. What is written stays.
    """
    waiting, losses, running = deque(shards), Counter[int](), 0
    with following(progress, len(shards)) as seen:
        while waiting or running:
            while waiting and running < pool.size:
                pool.begin(waiting.popleft())
                running += 1
            if not waiting:
                pool.release()
            shard, wrong = pool.wait()
            running -= 1
            if wrong is None:
                seen.advance(1)
                continue
            if not isinstance(wrong, Lost):
                raise wrong
            losses[shard.number] += 1
            if losses[shard.number] == TRIES:
                raise RocoError(
                    f"Shard {shard} lost its worker {TRIES} times; look for too little memory on the nodes, or for "
                    f"another process that writes it. What is written stays; run the same command again."
                )
            waiting.append(shard)
