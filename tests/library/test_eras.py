"""Libraries that earlier versions made: each is opened, searched, indexed on, and learns what is new.

``eras/VERSION.db.xz`` is a database that this version made of the six drawn images in ``eras/scans`` with `ToyEncoder`,
in ``/tmp/roco-eras``; 0.2.0 read ``captions.csv``, too. A change of the schema needs the library of the version before.
"""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest

from roco_search.curation.duplicates import find_duplicates
from roco_search.curation.export import export
from roco_search.library import Library, Selection
from roco_search.library.truth.connection import SCHEMA_VERSION
from roco_search.search import search
from tests.library.toy import Opened, ToyEncoder, connect, draw

ERAS = Path(__file__).with_name("eras")
MADE_OF = "/tmp/roco-eras/scans"
VERSIONS = sorted(path.name.removesuffix(".db.xz") for path in ERAS.glob("*.db.xz"))


@pytest.fixture(params=VERSIONS)
def era(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of such a library; its images are in the folder "scans" beside it."""
    folder = tmp_path / "library"
    folder.mkdir(mode=0o700)
    (folder / "library.db").write_bytes(lzma.decompress((ERAS / f"{request.param}.db.xz").read_bytes()))
    shutil.copytree(ERAS / "scans", tmp_path / "scans")
    return folder


def vectors(folder: Path) -> dict[int, np.ndarray]:
    connection = connect(folder)
    rows = connection.execute("SELECT frame_id, vector FROM vectors").fetchall()
    connection.close()
    return {frame_id: np.frombuffer(vector, "<f4") for frame_id, vector in rows}


def version(folder: Path) -> int:
    connection = connect(folder)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return int(found)


def test_every_schema_that_was_released_is_kept(tmp_path: Path) -> None:
    schemas = []
    for name in VERSIONS:
        path = tmp_path / name
        path.mkdir()
        (path / "library.db").write_bytes(lzma.decompress((ERAS / f"{name}.db.xz").read_bytes()))
        schemas.append(version(path))
    assert schemas == [*range(2, SCHEMA_VERSION + 1)], "add the library of the version that had the last schema"


def test_it_answers_without_being_changed(era: Path, tmp_path: Path) -> None:
    encoder, before = ToyEncoder(), version(era)
    (query,) = encoder.encode_texts(["chest"])
    stored = vectors(era)
    expected = sorted(stored, key=lambda frame_id: -float(stored[frame_id] @ query))
    with Library.open(era) as library:
        assert library.search(query[None], 6)[0][0].tolist() == expected
        hits = search(library, encoder, ["CT of the head"], n=3)
        assert {hit.modality for hit in hits} == {"CT"} and all(hit.relevance for hit in hits)
        assert library.frames.select(Selection(modality=("CR",))).tolist() == [4, 5]
        assert library.status().files == 6 and library.verify().problems == [] and not find_duplicates(library).groups
        assert export(library, tmp_path / "rows.jsonl").images == 6
        assert library.captions.count() == (6 if before >= 3 else 0)
    assert version(era) == before


def test_it_is_indexed_on_and_learns_what_is_new(era: Path, tmp_path: Path) -> None:
    scans, encoder = tmp_path / "scans", ToyEncoder()
    before = vectors(era)
    with Opened(era, encoder) as opened:
        assert version(era) == SCHEMA_VERSION
        assert opened.library.relocate(MADE_OF, scans) == 6
        draw(scans / "chest" / "new.png", 77)
        report = opened.index(scans, captions=True)
        assert report.indexed == 1 and report.removed == 0 and encoder.batches == [1], "nothing is embedded again"
        after = vectors(era)
        assert all(np.array_equal(after[frame_id], vector) for frame_id, vector in before.items())
        assert opened.library.captions.count() == 6
        assert opened.library.captions.matching("effusion", "affirmed").tolist() == [2, 6]
        hits = search(opened.library, encoder, ["effusion"], captions_only=True)
        assert {hit.path.rpartition("/")[2] for hit in hits} == {"2.png", "4.png"}
        assert opened.library.remove(scans / "head") == 3
        assert opened.library.vacuum().complete and opened.library.verify().problems == []
        assert opened.reembed(ToyEncoder(seed=1)).complete
