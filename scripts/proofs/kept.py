"""What is tortured besides a library's pictures: probes, marks and cohorts, which are files in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from worlds import FIRST, OPTIONS, Pictures, Work, same_files, same_libraries

from roco_search.curation.cohorts.cohort import Definition, gather
from roco_search.curation.cohorts.export import export_cohort
from roco_search.curation.cohorts.shelf import SHELF as COHORTS
from roco_search.library import Library
from roco_search.probe.examples import from_lists
from roco_search.probe.feedback import sessions
from roco_search.probe.shelf import SHELF as PROBES
from roco_search.probe.shelf import read_probe
from roco_search.probe.teaching.teach import teach
from tests.library.toy import Opened


def kept_works(pictures: Pictures) -> Iterator[Work]:
    """Yield what writes beside the pictures of a library: a probe, a session, a cohort, and an export of one."""
    readable = {digest for _, digest, _ in pictures.vectors}
    files = [path for path in sorted((pictures.still / "a").glob("*.png")) if _digest(path) in readable][:12]

    def indexed(world: Path) -> None:
        with Opened(world / "library", FIRST) as opened:
            opened.index(pictures.still, **OPTIONS)

    def taught(world: Path) -> None:
        with Opened(world / "library", FIRST) as opened:
            examples = from_lists(opened.library, "toy", files[:6], files[6:])
            probe = teach(opened.library, FIRST, "toy", examples, controls=False, pictures=False).probe
            PROBES.keep(opened.library, probe, overwrite=True)

    def marked(world: Path) -> None:
        with Library.open(world / "library") as library:
            session = sessions.Session("asked", ["chest"], made="2026-11-26T00:00:00+00:00")
            for round_, file in enumerate(files, start=1):
                session.mark(library, library.frames.of_file(str(file)), yes=bool(round_ % 2), round_=round_)
                sessions.SHELF.keep(library, session, overwrite=True)

    def gathered(world: Path) -> None:
        with Library.open(world / "library") as library:
            COHORTS.keep(library, gather(library, "some", Definition(under=(str(pictures.still),))), overwrite=True)

    def with_cohort(world: Path) -> None:
        indexed(world)
        gathered(world)
        (world / "out").mkdir()

    def passed_on(world: Path) -> None:
        with Library.open(world / "library") as library:
            export_cohort(library, COHORTS.read(library, "some"), world / "out" / "some")

    yield Work("probe fit", indexed, taught, partial(_same, read=_probe))
    yield Work("mark", indexed, marked, partial(_same, read=lambda library: sessions.SHELF.read(library, "asked")))
    yield Work(
        "cohort save", indexed, gathered, partial(_same, read=lambda library: COHORTS.read(library, "some").members)
    )
    yield Work("cohort export", with_cohort, passed_on, same_files)


def _digest(path: Path) -> bytes:
    return sha256(path.read_bytes()).digest()


def _probe(library: Library) -> object:
    probe = read_probe(library, "toy")
    return probe.labels, probe.fingerprint, np.round(probe.weights, 5).tolist(), np.round(probe.bias, 4).tolist()


def _same(one: Path, other: Path, read: object) -> None:
    """The same library, and the same file beside it, but for the time at which it was made."""
    same_libraries(one, other)
    found = []
    for world in (one, other):
        with Library.open(world / "library") as library:
            found.append(read(library))  # type: ignore[operator]
    assert found[0] == found[1], f"another file: {found}"
