"""What is tortured: small worlds of files, each with one command to run in it, and what must be true of it at any time.

A world is a folder with a library, exports, models or a training run in it; its pictures are elsewhere and stay as they
are. `Work.prepare` makes the world before the command, `Work.run` is the command, and `Work.same` compares two worlds
after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from roco_search.curation.export import export
from roco_search.errors import InputError, LibraryNotFound
from roco_search.imaging import open_image
from roco_search.imaging.archives import is_archive
from roco_search.library import Library
from roco_search.library.ingest.manifest import Shard
from roco_search.library.ingest.merging import merge
from roco_search.library.ingest.sharding import write_shard
from roco_search.library.moving import copy_library, move_library
from roco_search.system.files import is_temporary
from tests.library.ingest.test_interruption import change, fill
from tests.library.toy import Opened, ToyEncoder, connect, tables

FIRST, SECOND = ToyEncoder(), ToyEncoder(dim=32, seed=1, name="other")
OPTIONS = {"batch_size": 4, "frames": "all"}
Vectors = dict[tuple[str, bytes, int], np.ndarray]
"""By the encoder's fingerprint, the SHA-256 of a file and the number of a frame."""


@dataclass
class Work:
    """A command in its world.

    Attributes
    ----------
    name
        What is run.
    prepare
        Makes the world in an empty folder.
    run
        Does it. Run again after it was broken off, it must complete; where it had completed, it may refuse.
    same
        Raises AssertionError unless two worlds are the same.
    libraries
        Where a library may be, in the world.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    same: Callable[[Path, Path], None]
    libraries: tuple[str, ...] = ("library",)


class Pictures:
    """The folders of pictures, and the vectors of all that they show, computed from the files alone."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.still, self.changing, self.moved = folder / "still", folder / "changing", folder / "moved"
        self.vectors: Vectors = {}
        for scans in (self.still, self.changing):
            fill(scans / "a", count)
        rows = [{"file_name": f"{number:03}.png", "text": f"chest x ray {number}"} for number in range(count)]
        (self.still / "a" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        shutil.copytree(self.still, self.moved)
        self.know(self.still)
        self.know(self.changing)

    def know(self, folder: Path) -> None:
        """Compute the vectors of what a folder holds now."""
        for path in sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".tiff"}):
            assert not is_archive(str(path))
            digest = hashlib.sha256(path.read_bytes()).digest()
            with suppress(Exception):  # one that is broken has none
                for frame in open_image(path, frames="all"):
                    for encoder in (FIRST, SECOND):
                        self.vectors[encoder.fingerprint, digest, frame.index] = encoder.encode_one(frame.pixels)[0]


def library_works(pictures: Pictures) -> Iterator[Work]:
    """Yield every command that writes a library, over the same pictures."""

    def indexed(world: Path, scans: Path, **options: object) -> None:
        with Opened(world / "library", FIRST) as opened:
            opened.index(scans, **{**OPTIONS, **options})

    def again(world: Path, encoder: ToyEncoder = FIRST, **options: object) -> None:
        with Opened(world / "library", encoder) as opened:
            opened.library.index(None, encoder, **{**OPTIONS, **options})  # type: ignore[arg-type]

    def removed(world: Path) -> None:
        with Library.open(world / "library") as library:
            library.remove(pictures.still / "a")

    def half(world: Path) -> None:
        indexed(world, pictures.still)
        with Library.open(world / "library") as library:
            for number in range(0, 20, 2):
                with suppress(InputError):
                    library.remove(pictures.still / "a" / f"{number:03}.png")

    def vacuumed(world: Path) -> None:
        with Library.open(world / "library") as library:
            library.vacuum()

    def relocated(world: Path) -> None:
        with Library.open(world / "library") as library:
            library.relocate(pictures.still, pictures.moved)

    def moved(world: Path, rename: Callable[[Path, Path], object] = os.rename) -> None:
        move_library(world / "library", world / "beside" / "library", rename)

    def refuse(_old: Path, _new: Path) -> None:
        raise OSError("another file system")

    def with_folder(world: Path) -> None:
        indexed(world, pictures.still)
        (world / "out").mkdir()

    def exported(world: Path, name: str) -> None:
        with Library.open(world / "library") as library:
            export(library, world / "out" / name, force=True)

    same, still = same_libraries, pictures.still
    stored, places = partial(indexed, scans=still), ("library", "beside/library")
    # The folder changes once, when the first library of it has been made.
    template = pictures.folder / "before"
    indexed(template, pictures.changing)
    change(pictures.changing / "a")
    pictures.know(pictures.changing)

    def older(world: Path) -> None:
        shutil.copytree(template, world, dirs_exist_ok=True)

    yield Work("index", lambda world: world.mkdir(exist_ok=True), stored, same)
    yield Work("re-index", older, again, same)
    yield Work("re-embed", stored, partial(again, encoder=SECOND, reembed=True), same)
    yield Work("captions", stored, partial(again, captions=True), same)
    yield Work("remove", stored, removed, same)
    yield Work("vacuum", half, vacuumed, same)
    yield Work("relocate", stored, relocated, same)
    yield Work("move", stored, moved, partial(same, place="beside/library"), places)
    yield Work(
        "copy to another disk", stored, partial(moved, rename=refuse), partial(same, place="beside/library"), places
    )
    for name in ("rows.jsonl", "rows.npy", "rows.parquet"):
        yield Work(f"export {name}", with_folder, partial(exported, name=name), same_files)


def shared_works(pictures: Pictures) -> Iterator[Work]:
    """Yield what is done with several machines or disks; after `library_works`, which changes the pictures."""

    def indexed(world: Path) -> None:
        with Opened(world / "library", FIRST) as opened:
            opened.index(pictures.still, **OPTIONS)

    def copied(world: Path) -> None:
        copy_library(world / "library", world / "beside" / "library")

    def sharded(world: Path, scans: Path = pictures.still, numbers: Sequence[int] = (0, 1)) -> None:
        for number in numbers:
            write_shard([scans], FIRST, world / "parts", Shard(number, 2), **OPTIONS)  # type: ignore[arg-type]

    def merged(world: Path) -> None:
        merge(world / "library", [world / "parts"])

    def same_merged(one: Path, other: Path) -> None:
        for world in (one, other):
            merged(world)
        same_libraries(one, other)

    sharded(pictures.folder / "later", pictures.changing)

    def older_with_parts(world: Path) -> None:
        shutil.copytree(pictures.folder / "before", world, dirs_exist_ok=True)
        shutil.copytree(pictures.folder / "later", world, dirs_exist_ok=True)

    yield Work(
        "copy",
        indexed,
        copied,
        lambda one, other: same_libraries(one / "beside", other / "beside"),
        ("library", "beside/library"),
    )
    yield Work("shard", partial(sharded, numbers=[0]), sharded, same_merged, ())
    yield Work("merge", older_with_parts, merged, same_libraries)


def model_works(folder: Path) -> Iterator[Work]:
    """Yield what is done with models: pack one, unpack one, train one."""
    from roco_search.models.catalogue.archive import export_model, import_model
    from tests.cli.commands.test_train import imagefolder
    from tests.models.checkpoints import clip, dual_encoder
    from tests.training.data import draw
    from tests.training.test_kill import train

    clip(folder / "clip")
    export_model(folder / "clip", folder / "packed.zip")
    dual_encoder(folder / "base")
    imagefolder(folder / "pairs", [pair.caption for pair in draw(folder / "pairs", 12)])

    def packed(world: Path) -> None:
        export_model(folder / "clip", world / "out" / "clip.zip", force=True)

    def unpacked(world: Path) -> None:
        os.environ["ROCO_MODELS"] = str(world / "out")
        import_model(folder / "packed.zip", "carried", force=True)

    def trained(world: Path) -> None:
        train(folder, world / "out")

    def nothing(world: Path) -> None:
        (world / "out").mkdir()

    yield Work("model export", nothing, packed, same_files, ())
    yield Work("model import", nothing, unpacked, same_files, ())
    yield Work("train", nothing, trained, same_training, ())


def same_libraries(one: Path, other: Path, place: str = "library") -> None:
    """Row for row, ids included, and with nothing beside them.

    Which ids were given and taken back in between is nobody's business, nor how the full-text index is cut into parts.
    """
    left, right = (tables(world / place, keyed=False) for world in (one, other))
    for row, twin in zip(left.pop("vectors"), right.pop("vectors"), strict=True):
        vector, twin_vector = (np.frombuffer(item.pop("vector"), "<f4") for item in (row, twin))
        assert np.allclose(vector, twin_vector, atol=1e-5) and row == twin, "other vectors"
    for name in sorted(left.keys() | right.keys()):
        if name != "sqlite_sequence" and not name.startswith("captions_fts_"):
            assert left.get(name) == right.get(name), f"another table of {name}: {left.get(name)} {right.get(name)}"
    if place != "library":
        assert not (other / "library").exists(), "the library is still in its old place, too"


def same_files(one: Path, other: Path) -> None:
    """Byte for byte, all that was written outside of the library; but a lock keeps the number of its last holder."""
    left, right = (
        {str(p.relative_to(w / "out")): p for p in (w / "out").rglob("*") if p.is_file() and p.suffix != ".lock"}
        for w in (one, other)
    )
    assert left.keys() == right.keys(), f"other files: {sorted(left.keys() ^ right.keys())}"
    for name, path in left.items():
        assert path.read_bytes() == right[name].read_bytes(), f"{name} is another"


def same_training(one: Path, other: Path) -> None:
    """The weights and the record of a run, to the bit."""
    for name in ("model.safetensors", "training.json"):
        assert (one / "out" / name).read_bytes() == (other / "out" / name).read_bytes(), f"{name} is another"


def check_library(directory: Path, vectors: Vectors) -> int:
    """Check what must be true of a library at any time; return the number of vectors that were computed anew.

    The database is whole; every vector is that of the very picture whose row it belongs to; `verify` finds no problem,
    not even a damaged cache; and a search finds what a look at every vector finds.
    """
    with closing(connect(directory)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        try:
            rows = connection.execute(
                "SELECT fingerprint, content_hash, number, vector, state, frames.id FROM vectors JOIN frames "
                "ON frames.id = frame_id JOIN files ON files.id = file_id "
                "JOIN embedding_sets ON embedding_sets.id = set_id ORDER BY frames.id"
            ).fetchall()
        except sqlite3.OperationalError:  # killed before the tables were there
            rows = []
    for fingerprint, digest, number, vector, _, frame in rows:
        stored = np.frombuffer(vector, "<f4")
        expected = vectors.get((fingerprint, digest, number))
        assert expected is not None, f"frame {frame} has a vector, but nothing shows that picture"
        assert np.allclose(stored, expected, atol=1e-5), f"the vector of frame {frame} is that of another picture"
    try:
        with Library.open(directory) as library:
            assert (problems := library.verify().problems) == [], problems
            active = library.model
            if active is not None and active.count:
                query = FIRST.encode_texts(["chest"])[0] if active.fingerprint == FIRST.fingerprint else None
                query = SECOND.encode_texts(["chest"])[0] if query is None else query
                held = [(row[5], np.frombuffer(row[3], "<f4")) for row in rows if row[4] == "active"]
                scores = np.stack([vector for _, vector in held]) @ query
                _, found = library.search(query[None], 5)
                assert np.allclose(found[0], np.sort(scores)[::-1][: found.shape[1]], atol=1e-5), "a wrong answer"
    except LibraryNotFound:
        assert not rows, "the library is not found"
    return len(rows)


def leftovers(world: Path) -> list[str]:
    """Return what was left half-made, anywhere in a world."""
    return sorted(str(path.relative_to(world)) for path in world.rglob("*") if is_temporary(path.name))
