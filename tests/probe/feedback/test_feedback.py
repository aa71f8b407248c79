"""Marks move a ranking towards what was liked, and are kept as they were made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roco_search.errors import InputError
from roco_search.probe.examples import from_marks
from roco_search.probe.feedback import sessions
from roco_search.probe.feedback.direction import HEAD_FROM, learned, refine
from roco_search.probe.ranking import ranked_by_marks
from roco_search.search import search
from roco_search.search.terms import Term
from roco_search.statistics.classification import auc
from tests.library.toy import Opened, ToyEncoder, draw
from tests.probe.conftest import Taught


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Opened]:
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        for seed in range(6):
            draw(tmp_path / "scans" / f"{seed}.png", seed)
        opened.index(tmp_path / "scans")
        yield opened


@pytest.mark.parametrize("count", [1, 3, HEAD_FROM, 8])
def test_marks_raise_what_is_like_the_liked_and_more_marks_raise_it_more(taught: Taught, count: int) -> None:
    library = taught.opened.library
    ids, vectors = library.embedded(), library.embeddings()
    paths = [frame.path for frame in library.frames.get(ids.tolist()).values()]
    middle = np.array([taught.middle[taught.paths.index(Path(path))] for path in paths])
    query = np.random.default_rng(4).normal(size=(vectors.shape[1],)).astype(np.float32)
    yes, no = ids[middle][:count].tolist(), ids[~middle][:count].tolist()
    rest = ~np.isin(ids, [*yes, *no])
    refined = refine(library, query, yes, no)
    before, after = (auc(np.asarray(vectors @ vector, float)[rest], middle[rest]) for vector in (query, refined))
    assert after > max(before, 0.6 if count < HEAD_FROM else 0.85)


def test_without_marks_nothing_changes_and_one_kind_of_mark_is_enough(taught: Taught) -> None:
    library = taught.opened.library
    query = library.embeddings()[0]
    assert not learned(library, query, [], []).any()
    liked = library.embedded()[5:6].tolist()
    toward = learned(library, query, liked, [])
    away = learned(library, query, [], liked * HEAD_FROM)
    vector = library.embedding(liked[0])
    assert vector is not None
    centred = vector - library.embeddings().mean(axis=0)
    assert centred @ toward > 0 > centred @ away
    assert not learned(library, query, [10**6], []).any(), "a frame that is gone"


def test_the_strength_does_not_depend_on_the_length_of_the_query(taught: Taught) -> None:
    library = taught.opened.library
    query, ids = library.embeddings()[3], library.embedded().tolist()
    for yes, no in ((ids[:2], ids[2:3]), (ids[:4], ids[4:8])):
        np.testing.assert_allclose(
            learned(library, 20 * query, yes, no), 20 * learned(library, query, yes, no), rtol=1e-3, atol=1e-5
        )


def test_the_next_page_has_none_of_the_marked(taught: Taught) -> None:
    library, encoder = taught.opened.library, taught.opened.encoder

    def find(*terms: object, **options: object) -> list:  # type: ignore[type-arg]
        return search(library, encoder, *terms, cosine=True, fold=False, **options)  # type: ignore[arg-type]

    terms = [Term("something")]
    first = ranked_by_marks(library, encoder, find, terms, None, [], [], n=6)
    ids = [library.frames.of_file(hit.path)[0].id for hit in first]
    following = ranked_by_marks(library, encoder, find, terms, None, ids[:3], ids[3:], n=6)
    assert [hit.path for hit in first] == [hit.path for hit in find(terms, n=6)]
    assert not {hit.path for hit in first} & {hit.path for hit in following} and len(following) == 6


def test_a_session_is_kept_undone_renamed_and_survives_indexing_again(own: Opened, tmp_path: Path) -> None:
    library = own.library
    session = sessions.Session("mine", ["effusion", "left"])
    for round_, names in ((1, ("0", "1")), (2, ("2", "3", "4"))):
        for name in names:
            frames = library.frames.of_file(str(tmp_path / "scans" / f"{name}.png"))
            session.mark(library, frames, yes=name in "024", round_=round_)
    sessions.SHELF.keep(library, session)
    assert sessions.SHELF.read(library, "mine") == session and session.ids(library) == ([1, 3, 5], [2, 4])
    assert session.undo() == 3 and session.ids(library) == ([1], [2]) and session.undo() == 2 and session.undo() == 0
    session = sessions.SHELF.read(library, "mine")
    assert str(tmp_path) not in (own.directory / "sessions" / "mine.json").read_text(), "no path is kept"
    (tmp_path / "scans" / "0.png").rename(tmp_path / "scans" / "moved.png")
    own.index(tmp_path / "scans")
    yes, no = session.ids(library)
    liked = {Path(frame.path).name for frame in library.frames.get(yes).values()}
    assert liked == {"2.png", "4.png", "moved.png"}
    assert no == [2, 4]
    sessions.SHELF.rename(library, "mine", "yours")
    assert sessions.SHELF.names(library) == ["yours"] and sessions.SHELF.read(library, "yours").query == [
        "effusion",
        "left",
    ]
    sessions.SHELF.keep(library, sessions.Session("other", []))
    with pytest.raises(InputError, match="already"):
        sessions.SHELF.rename(library, "other", "yours")
    assert sessions.fresh_name(library, ["yours"]) == "yours 2"
    examples = from_marks(library, "left", [1, 3, 5], [2, 4, 6])
    assert examples.names == ("left",) and examples.truth[:, 0].sum() == 3


def test_a_damaged_session_is_refused(own: Opened) -> None:
    sessions.SHELF.keep(own.library, sessions.Session("x", ["a"]))
    place = own.directory / "sessions" / "x.json"
    assert place.stat().st_mode & 0o777 == 0o600
    whole = json.loads(place.read_text())
    for damaged in (
        "",
        "[]",
        "{",
        json.dumps({**whole, "format": 9}),
        json.dumps({**whole, "marks": [{"content": "x"}]}),
        "[" * 99999,
    ):
        place.write_text(damaged)
        with pytest.raises(InputError, match="is damaged"):
            sessions.SHELF.read(own.library, "x")
    with pytest.raises(InputError, match="the library has x"):
        sessions.SHELF.read(own.library, "y")
