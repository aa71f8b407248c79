"""Shares of the images, for ``roco index``: one of them with ``--shard``, or all on a cluster with ``--ray``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from roco_search.cli.output import say
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.system import process

if TYPE_CHECKING:
    from pathlib import Path

    from roco_search.library.reports import IndexReport
    from roco_search.models.encoder import Device, Engine


class Asked(NamedTuple):
    """What was asked for, as ``roco index`` takes it; `options` are those of `write_shard`."""

    paths: list[Path] | None
    parts: Path | None
    model: str | None
    precision: str | None
    device: Device
    engine: Engine
    options: dict[str, Any]

    def model_and_images(self) -> tuple[str, str]:
        """Return the name of the model and the arithmetic of images: those of the parts that there are."""
        from roco_search.library.ingest.manifest import manifests
        from roco_search.models.catalogue.registry import default

        known = manifests(self.parts)[:1] if self.parts is not None and self.parts.is_dir() else []
        name = self.model or (known[0].encoder.name if known else default())
        recorded = known[0].encoder.image_arithmetic if known else None
        return name, image_arithmetic(self.precision, recorded, reembed=False)


def embed_share(asked: Asked, shard: str | None, quiet: bool) -> IndexReport:
    """Embed a share of the images, and write it as parts: what ``--shard`` and ``--parts`` ask for."""
    if shard is None or asked.parts is None:
        refuse("--shard and --parts belong together, such as --shard 0/8 --parts ./parts.")
    if not asked.paths:
        refuse("Name the folders whose share is to be embedded, such as ./scans.")
    with Waiting("Loading the model", quiet=quiet) as waiting:
        from roco_search.library.ingest.sharding import parse_shard, write_shard
        from roco_search.models import load_encoder
        from roco_search.models.catalogue.registry import find
        from roco_search.models.compiling.compiler import prepare

        process.prepare()
        share = parse_shard(shard)
        name, images = asked.model_and_images()
        prepare(find(name), say)
        encoder = load_encoder(name, asked.device, "fast", images=images, engine=asked.engine)
        progress = ProgressBar(f"Embedding shard {share}", quiet)
        waiting.now("Looking for images")
        return write_shard(asked.paths, encoder, asked.parts, share, progress=progress, **asked.options)


def embed_on(asked: Asked, address: str, shard: str | None, library: Path | None, quiet: bool) -> IndexReport:
    """Embed all shares on a Ray cluster, and merge them into the library: what ``--ray`` asks for."""
    if shard is not None:
        refuse("--ray runs all shards; leave --shard out.")
    if asked.parts is None:
        refuse("--ray needs --parts: a folder that all nodes see at the same place.")
    if not asked.paths:
        refuse("Name the folders to embed, such as ./scans; all nodes see them at the same place.")
    with Waiting("Connecting to Ray", quiet=quiet):
        from roco_search.cluster.actors import Work, embed_on_ray
        from roco_search.library import default_library_path
        from roco_search.library.directory import real_path
        from roco_search.library.ingest.merging import merge
        from roco_search.library.ingest.sharding import ordered_roots

        started = time.monotonic()
        name, images = asked.model_and_images()
        work = Work(
            ordered_roots(asked.paths), real_path(asked.parts), name, asked.device, asked.engine, images,
            asked.options,
        )  # fmt: skip
        embed_on_ray(address, work, ProgressBar("Shards on Ray", quiet))
        report = merge(library or default_library_path(), [asked.parts], progress=ProgressBar("Merging", quiet))
        report.seconds = time.monotonic() - started
        report.images_per_second = report.frames / max(report.seconds, 1e-9)
        return report


def refuse_with_shard(*, reembed: bool, texts: bool | None) -> None:
    """Refuse what a share of the images cannot be indexed with."""
    if reembed:
        refuse("--reembed is for a library; to embed with another model, name another folder with --parts.")
    if texts:
        refuse("Captions and reports are read by 'roco index' when the parts are merged; leave them out with --shard.")


def image_arithmetic(precision: str | None, recorded: str | None, *, reembed: bool) -> str:
    """Return what ``--precision`` means: without it, a library goes on as it was embedded, and a new one is exact."""
    if precision is None:
        return recorded or "fp32"
    if precision == "exact":
        return "fp32"
    return recorded if recorded not in (None, "fp32") and not reembed else "fast"
