"""Shards as stateful Ray actors: paths go in, parts come out, and a model is loaded once in each."""

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roco_search.cluster.shares import Lost, run_shards, shards_of
from roco_search.errors import Busy, InputError, RocoError
from roco_search.library.ingest.manifest import Shard
from roco_search.models.encoder import Device, Engine
from roco_search.system.progress import Progress

LOCAL, AUTO = "local", "auto"
PATIENCE = 10.0  # seconds for an answer from the head node; Ray itself tries for minutes
CORES = 4  # of an actor, or all of the smallest node: more are used less well by one process
STARTS = 3  # Ray gives its own processes 30 s to start, which a busy machine may not keep.
STORE = 80 * 2**20  # Bytes of Ray's object store, nearly its least: nothing but a shard's number passes through it.


@dataclass(frozen=True, slots=True)
class Work:
    """What all shards have in common; see `write_shard` and `load_encoder`."""

    paths: list[str]
    parts: str
    model: str
    device: Device = "auto"
    engine: Engine = "auto"
    images: str = "fp32"
    options: dict[str, Any] = field(default_factory=dict)


class Embedder:
    """What runs in an actor."""

    def __init__(self, work: Work) -> None:
        from roco_search.models import load_encoder
        from roco_search.models.catalogue.registry import find
        from roco_search.models.compiling.compiler import prepare
        from roco_search.system import process

        process.prepare()
        self._work = work
        prepare(find(work.model), lambda _: None)
        self._encoder = load_encoder(work.model, work.device, "fast", images=work.images, engine=work.engine)

    def run(self, number: int, of: int) -> tuple[str, str]:
        """Write a shard; return how it ended ("done", "busy" or "failed") with a sentence."""
        from roco_search.library.ingest.sharding import write_shard

        try:
            write_shard(self._work.paths, self._encoder, self._work.parts, Shard(number, of), **self._work.options)
        except Busy as error:
            return "busy", str(error)
        except RocoError as error:  # as text: an error of a node need not be of this version
            return "failed", str(error)
        return "done", ""


def embed_on_ray(address: str, work: Work, progress: Progress | None = None) -> None:
    """Embed images on a Ray cluster and write them as parts; whatever is lost on the way is done again elsewhere.

    Parameters
    ----------
    address
        "local" for this machine alone, "auto" for the cluster that this machine belongs to, or ``HOST:PORT``.
    work
        What to embed. Its folders, and the folder of parts, are at the same place on all nodes.
    progress
        Follows the shards.

    Raises
    ------
    InputError
        If Ray is not installed or the cluster cannot be used.
    RocoError
        As `run_shards`.
    """
    with connected(address) as ray:
        pool = Actors(ray, work)
        run_shards(pool, shards_of(Path(work.parts), pool.size), progress)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster, or start one that listens on this machine's loopback only; no statistics leave it.

    A cluster asks for its token, because whoever reaches its ports can run anything there.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    local = address == LOCAL
    if local:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray's name for "no other machine will join": only then is 127.0.0.1 taken as it is given.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    elif os.environ["RAY_AUTH_MODE"] == "token" and not _has_token():
        raise InputError(
            "There is no token for the Ray cluster; copy ~/.ray/auth_token from its head node, where "
            "`ray get-auth-token --generate` makes it, or set RAY_AUTH_TOKEN."
        )
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray is not installed; run `pip install 'roco-search[cluster]'` on all nodes, or run each `shard` yourself."
        ) from None
    if address not in (LOCAL, AUTO):
        refuse_silence(address)
    place = tempfile.mkdtemp(prefix="roco-ray-") if local else None
    own: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "_temp_dir": place, "include_dashboard": False,
           "object_store_memory": STORE}  # fmt: skip
    try:
        for tries_left in reversed(range(STARTS if local else 1)):
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **(own if local else {}))
                break
            except Exception as error:
                ray.shutdown()
                if not tries_left:
                    raise InputError(
                        f"The Ray cluster at {address} cannot be used ({type(error).__name__}); check the address, "
                        "that it runs (`ray status`), its versions of Ray and Python, and its token."
                    ) from None
        yield ray
    finally:
        ray.shutdown()
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def refuse_silence(address: str) -> None:
    """Raise InputError where nothing listens at ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, ValueError, OverflowError):
        raise InputError(
            f"There is no Ray cluster at {address}; check the address (HOST:PORT, as `ray start --head` printed it), "
            "and that the head node runs."
        ) from None


def _has_token() -> bool:
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return named or (Path.home() / ".ray" / "auth_token").exists()


class Actors:
    """See `Pool`."""

    def __init__(self, ray: Any, work: Work) -> None:
        nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        cores = min([CORES, *(count for count in nodes if count)])
        self.size = max(1, sum(count // cores for count in nodes))
        self._ray = ray
        self._make = ray.remote(num_cpus=cores, max_restarts=0)(Embedder)
        self._work = ray.put(work)
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, Shard]] = {}

    def begin(self, shard: Shard) -> None:
        """See `Pool`."""
        actor = self._idle.pop() if self._idle else self._make.remote(self._work)
        self._running[actor.run.remote(shard.number, shard.of)] = (actor, shard)

    def wait(self) -> tuple[Shard, RocoError | Lost | None]:
        """See `Pool`."""
        (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        actor, shard = self._running.pop(done)
        try:
            ended, said = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            wrong = cause if isinstance(cause, RocoError) else RocoError(
                f"Shard {shard} met an unexpected {type(cause).__name__}; what is written stays. Run that `shard` "
                "on one machine to see more."
            )  # fmt: skip
            return shard, wrong
        except self._ray.exceptions.RayError:  # the actor, its node, or the way there
            with suppress(Exception):
                self._ray.kill(actor)
            return shard, Lost()
        self._idle.append(actor)
        return shard, {"done": None, "busy": Lost(), "failed": RocoError(said)}[ended]

    def release(self) -> None:
        """See `Pool`."""
        while self._idle:
            self._ray.kill(self._idle.pop())
