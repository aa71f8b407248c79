"""A cohort is found again: it says what came and what went, and survives moves, copies and damage."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from roco_search.cli.render.cohorts import given_words
from roco_search.curation.cohorts.cohort import Cohort, Definition, compare, gather, gather_again, keys_of, members_of
from roco_search.curation.cohorts.shelf import SHELF
from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.library.directory import COHORTS
from roco_search.library.moving import move_library
from tests.library.toy import Opened


def draw(path: Path, grey: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").point(lambda value: (value + grey) % 256).save(path)
    return path


@pytest.fixture
def filled(opened: Opened, scans: Path) -> Opened:
    for number in range(4):
        draw(scans / "a" / f"{number}.png", 20 * number)
    draw(scans / "b" / "other.png", 100)
    opened.index(scans)
    return opened


def names(library: Library, cohort: Cohort) -> list[str]:
    return [Path(entry.frame.path).name for entry in members_of(library, cohort)]


def of_folder(opened: Opened, folder: Path) -> Cohort:
    return gather(opened.library, "a", Definition(under=(str(folder),)))


def test_it_says_what_came_and_what_went(filled: Opened, scans: Path) -> None:
    before = of_folder(filled, scans / "a")
    assert names(filled.library, before) == ["0.png", "1.png", "2.png", "3.png"]
    draw(scans / "a" / "new.png", 77)
    (scans / "a" / "0.png").unlink()
    (scans / "a" / "1.png").rename(scans / "b" / "moved.png")
    shutil.copy(scans / "a" / "2.png", scans / "a" / "copy.png")
    filled.index(scans)
    after, changes = gather_again(filled.library, before)
    assert [Path(entry.frame.path).name for entry in changes.came] == ["new.png"], "a copy is the same picture"
    assert [Path(entry.frame.path).name for entry in changes.went] == ["moved.png"], "known wherever it is now"
    assert (changes.gone, changes.stayed) == (1, 2)
    assert after.created == before.created and len(after.members) == 3
    assert names(filled.library, before) == ["moved.png", "2.png", "3.png"]
    assert compare(filled.library, after, after).stayed == 3


def test_pictures_that_were_picked_by_hand_stay_picked(filled: Opened, scans: Path) -> None:
    library = filled.library
    ids = [library.frames.of_file(str(scans / "a" / f"{number}.png"))[0].id for number in (3, 1, 2)]
    definition = Definition(picked=keys_of(library, [*ids, ids[0], 10**6]))
    made = gather(library, "p", definition)
    assert sorted(names(library, made)) == ["1.png", "2.png", "3.png"] and definition.plain()["picked"] == 3
    assert given_words(made) == "picked 3"
    SHELF.keep(library, made)
    (scans / "a" / "1.png").rename(scans / "b" / "moved.png")
    (scans / "a" / "2.png").unlink()
    filled.index(scans)
    after, changes = gather_again(library, SHELF.read(library, "p"))
    assert sorted(names(library, after)) == ["3.png", "moved.png"] and changes.gone == 1
    under = gather(library, "u", Definition(picked=definition.picked, under=(str(scans / "a"),)))
    assert names(library, under) == ["3.png"], "everything that is given has to hold"


def test_a_query_ranks_it_and_limits_end_it(filled: Opened) -> None:
    from roco_search.search import search

    made = gather(filled.library, "q", Definition(query="chest", limit=3), filled.encoder)
    hits = search(filled.library, filled.encoder, ["chest"], n=3, group_by="none", fold=False)
    assert names(filled.library, made) == [Path(hit.path).name for hit in hits]
    assert [member.score for member in made.members] == pytest.approx([hit.score for hit in hits])
    every = search(filled.library, filled.encoder, ["chest"], n=5, group_by="none", fold=False)
    least = sorted(hit.score for hit in every)[2] - 1e-4
    above = gather(filled.library, "q", Definition(query="chest", min_score=least), filled.encoder)
    wanted = [Path(hit.path).name for hit in every if hit.score >= least]
    assert names(filled.library, above) == wanted and len(wanted) == 3
    assert len(gather(filled.library, "n", Definition(path=("*",), limit=2)).members) == 2
    assert len(gather(filled.library, "g", Definition(path=("*",), group_by="file")).members) == 5


def test_what_contradicts_itself_is_refused(filled: Opened) -> None:
    for definition in (
        Definition(),
        Definition(query="  "),
        Definition(query="chest"),  # a model is needed
        Definition(path=("*.tif",)),
        Definition(path=("*",), match="fair"),
        Definition(query="chest", match="splendid"),
        Definition(path=("*",), limit=0),
    ):
        encoder = filled.encoder if definition.match else None
        with pytest.raises(InputError):
            gather(filled.library, "x", definition, encoder)
    for name in ("", "../x", ".hidden", " a", "x" * 81, "a\n", "\U00020000" * 60):
        with pytest.raises(InputError, match="cannot be the name"):
            SHELF.check_name(name)


def test_it_is_kept_as_it_was_and_never_replaced_by_chance(filled: Opened, scans: Path) -> None:
    made = of_folder(filled, scans / "a")
    SHELF.keep(filled.library, made)
    assert SHELF.read(filled.library, "a") == made
    with pytest.raises(InputError, match="already"):
        SHELF.keep(filled.library, made)
    place = filled.directory / COHORTS / "a.json"
    assert place.stat().st_mode & 0o777 == 0o600 and place.parent.stat().st_mode & 0o777 == 0o700
    assert "0.png" not in place.read_text(), "of a file that is forgotten, no name remains"
    whole = place.read_text()
    for damaged in ("", "[]", whole[:-20], whole.replace('"members": [[', '"members": [[[')):
        place.write_text(damaged)
        with pytest.raises(InputError, match="damaged"):
            SHELF.read(filled.library, "a")
    SHELF.remove(filled.library, "a")
    assert SHELF.names(filled.library) == []
    with pytest.raises(InputError, match="no cohort"):
        SHELF.read(filled.library, "a")


@pytest.mark.parametrize("another_disk", [False, True])
def test_it_goes_where_its_library_goes(filled: Opened, scans: Path, tmp_path: Path, another_disk: bool) -> None:
    SHELF.keep(filled.library, of_folder(filled, scans / "a"))
    filled.library.close()

    def refuse(_: Path, __: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    if another_disk:
        assert move_library(filled.directory, tmp_path / "moved", rename=refuse).copied
    else:
        move_library(filled.directory, tmp_path / "moved")
    assert not filled.directory.exists()
    with Library.open(tmp_path / "moved") as moved:
        assert len(members_of(moved, SHELF.read(moved, "a"))) == 4


def test_members_are_known_by_the_content_of_their_files(filled: Opened, scans: Path) -> None:
    """As SQL alone says: the set of contents below the folder is the set of members."""
    made = of_folder(filled, scans / "a")
    with sqlite3.connect(filled.directory / "library.db") as connection:
        rows = connection.execute("SELECT content_hash, path FROM files WHERE path LIKE ?", [f"{scans}/a/%"]).fetchall()
    keys = {filled.library.path_hash(f"{digest.hex()}#0") for digest, _ in rows}
    assert keys == {member.key for member in made.members}
    assert json.dumps(sorted(keys)).find(rows[0][0].hex()) == -1, "the hash has a key of the library's own"
