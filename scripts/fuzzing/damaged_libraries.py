"""Open libraries with damaged files, look for words of any syntax in captions, and import damaged model archives.

    scripts/fuzz libraries --inputs 2000
    scripts/fuzz words --inputs 2000
    scripts/fuzz archives --inputs 2000

A damaged cache is found out: the answers stay what they were. A damaged database is refused in a sentence, or answers.
No exception but a `RocoError`, no signal, no hang. Inputs depend on the seed and their number alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import trying
from children import outcomes

sys.path.insert(0, str(Path(__file__).parents[2]))

from roco_search.errors import RocoError
from roco_search.library import Library
from roco_search.library.directory import CACHES, DATABASE
from roco_search.search import Filters, search
from tests.library.toy import Opened, ToyEncoder, draw

ENCODER = ToyEncoder()
TEXTS = (
    "Chest X-ray with a pleural effusion.",
    "CT of the head, no fracture.",
    "naïve 胸部 “quoted” text",
    "a - b: c*",
)
QUERY = "pleural effusion"
OTHERS = (b"", b"\0" * 4096, b"SQLite format 3\0", b"ROCOFACT", b"[" * 100_000, b'{"a": 1}', b"\xff" * 100)


class Made:
    """A library with captions, a matrix and a graph; and what it answers."""

    def __init__(self, folder: Path, count: int = 40) -> None:
        self.folder = folder
        self.whole, self.scans, self.work = folder / "whole", folder / "scans", folder / "work"
        for number in range(count):
            draw(self.scans / f"{number:02}.png", number)
            (self.scans / f"{number:02}.txt").write_text(TEXTS[number % len(TEXTS)])
        with Opened(self.whole, ENCODER) as opened:
            opened.index(self.scans, captions=True)
            opened.library.vectors().graph()
            search(opened.library, ENCODER, [QUERY])  # which makes the cache of what is known of each row
        self.files = [name for name in (DATABASE, *CACHES) if (self.whole / name).exists()]
        self.expected = self.answers(self.whole)

    def answers(self, place: Path) -> list[list[tuple[str, float]]]:
        """Open the library and ask it in every way."""
        with Library.open(place) as library:
            library.status()
            found = [
                search(library, ENCODER, [QUERY], n=10, fold=False, group_by="none"),
                search(library, ENCODER, [QUERY], n=10, cosine=True, fold=False, group_by="none"),
                search(library, ENCODER, [QUERY], n=10, cosine=True, fold=False, group_by="none", mode="approximate"),
                search(library, ENCODER, [QUERY], n=10, filters=Filters(text_match="pleural"), group_by="none"),
            ]
        return [[(Path(hit.path).name, round(hit.score, 4)) for hit in hits] for hits in found]

    def damaged(self, seed: int, number: int) -> str:
        """Make a copy with one damaged file; return the file's name."""
        chance = random.Random(f"{seed}-{number}")
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.whole, self.work)
        name = self.files[number % len(self.files)]
        path = self.work / name
        content = bytearray(path.read_bytes())
        match chance.randrange(10):
            case 0:
                path.unlink()
                if chance.random() < 0.5:
                    os.mkfifo(path)
                else:
                    path.mkdir()
            case 1:
                path.write_bytes(chance.choice(OTHERS))
            case 2:
                other = self.whole / chance.choice(self.files)
                shutil.copyfile(other, path)
            case 3:
                path.write_bytes(content[: chance.randrange(len(content))])
            case 4 if name.endswith(".json"):
                tree = json.loads(content)
                tree[chance.choice(sorted(tree))] = chance.choice([None, -1, 10**30, "x", [], {}, 1.5, True])
                path.write_text(json.dumps(tree))
            case 4 | 5 if name == DATABASE:
                forge(path, chance)
            case _:
                for _ in range(chance.choice((1, 1, 4, 60))):
                    place = chance.randrange(len(content) if chance.random() < 0.7 else min(len(content), 200))
                    content[place] ^= 1 << chance.randrange(8)
                path.write_bytes(content)
        return name

    def use(self, seed: int, number: int) -> str:
        """Use a damaged copy: ask it, verify it, index again."""
        name = self.damaged(seed, number)
        outcome = "answered"
        try:
            answers = self.answers(self.work)
            assert name == DATABASE or answers == self.expected, f"{name}: another answer than that of the vectors"
        except RocoError as error:
            outcome = one_sentence(error)
            assert name == DATABASE or not (self.work / name).is_file(), (
                f"{name}: a damaged cache is no reason: {error}"
            )
        for task in (verify, index_again):
            try:
                task(self.work, self.scans)
            except RocoError as error:
                one_sentence(error)
        return outcome


def verify(place: Path, _scans: Path) -> None:
    with Library.open(place) as library:
        library.verify()


def index_again(place: Path, scans: Path) -> None:
    with Library.open(place) as library:
        library.index([scans], ENCODER, captions=True)


def forge(path: Path, chance: random.Random) -> None:
    """Write what no roco writes into a table."""
    values = ("NULL", "-1", "'x'", "x'00ff'", "1e300", "''", "9223372036854775807", "zeroblob(96)", "char(0)")
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA foreign_keys = OFF")
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        table = chance.choice([name for name in tables if "fts" not in name and not name.startswith("sqlite")])
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        with suppress(sqlite3.Error), connection:
            if chance.random() < 0.15:
                connection.execute(f"DELETE FROM {table}")
            else:
                some = "" if chance.random() < 0.5 else "WHERE rowid = 1"
                connection.execute(f"UPDATE {table} SET {chance.choice(columns)} = {chance.choice(values)} {some}")
        connection.close()


def one_sentence(error: RocoError) -> str:
    assert "\n" not in str(error) and 10 < len(str(error)) < 900, f"no one sentence: {str(error)[:300]!r}"
    return "refused"


PIECES = (
    *(
        '"',
        "'",
        "(",
        ")",
        "*",
        "^",
        ":",
        "-",
        "+",
        "{",
        "}",
        ",",
        "\\",
        ";",
        "--",
        "\0",
        "\ud800",
        "\t",
        "\n",
        " " * 50,
    ),
    *("AND", "OR", "NOT", "NEAR", "NEAR(a b, 3)", "NEAR(", "and", "text:", "affirmed:", "rowid:", "captions_fts", "''"),
    *(
        "pleural",
        "effusion",
        "naïve",
        "胸部",
        "“",
        "’",
        "é",
        "e\u0301",
        "\u202e",
        "😀",
        "x" * 5000,
        "0",
        "1e400",
        "%",
        "_",
    ),
)


def ask_in_words(made: Made, seed: int, number: int) -> str:
    """Use words of any syntax as a condition on captions, and as a query."""
    chance = random.Random(f"{seed}-{number}")
    words = chance.choice((" ", "", " ")).join(chance.choices(PIECES, k=chance.choice((1, 2, 3, 5, 9, 200))))
    outcome = "answered"
    with Library.open(made.whole) as library:
        try:
            search(library, ENCODER, ["chest"], n=5, filters=Filters(text_match=words))
        except RocoError as error:
            assert "\n" not in str(error), f"no one sentence: {str(error)[:300]!r}"
            outcome = "refused"
        try:
            search(library, ENCODER, [words], n=5)
        except RocoError as error:
            assert "\n" not in str(error), f"no one sentence: {str(error)[:300]!r}"
    return outcome


class Packed:
    """A model in an archive, and where it is imported."""

    def __init__(self, folder: Path) -> None:
        from roco_search.models.catalogue.archive import export_model
        from tests.models.checkpoints import clip

        self.models, self.damaged = folder / "models", folder / "damaged.zip"
        exported = export_model(clip(folder / "clip"), folder / "packed.zip")
        self.content, self.fingerprint = exported.file.read_bytes(), exported.fingerprint

    def use(self, seed: int, number: int) -> str:
        """Import a damaged archive: it is refused and leaves nothing, or is the very model."""
        from roco_search.models.catalogue.archive import import_model

        chance = random.Random(f"{seed}-{number}")
        content = bytearray(self.content)
        for _ in range(chance.choice((1, 1, 3, 20))):
            # The weights are most of it; what says where everything is, is at both ends.
            place = chance.choice(
                (chance.randrange(len(content)), chance.randrange(2000), len(content) - chance.randrange(1, 900))
            )
            place = min(place, len(content) - 1)
            if place < 0:
                break
            match chance.randrange(6):
                case 0:
                    del content[place : place + chance.choice((1, 4, 100))]
                case 1:
                    content[place:place] = content[place : place + chance.choice((1, 30))]
                case 2:
                    content[place : place + 4] = chance.choice((0, 0xFFFFFFFF, 0x7FFFFFFF, 1)).to_bytes(4, "little")
                case 3 if chance.random() < 0.2:
                    del content[place:]
                case 4:
                    names = [b"config.json", b"model.safetensors", b"tokenizer.json", b"vocab.json"]
                    content = bytearray(bytes(content).replace(chance.choice(names), b"../../x.jsn"))
                case _:
                    content[place] ^= 1 << chance.randrange(8)
        self.damaged.write_bytes(content)
        os.environ["ROCO_MODELS"] = str(self.models)
        try:
            found = import_model(self.damaged, "carried", force=True)
        except RocoError as error:
            assert not (self.models / "carried").exists(), "a refused model is there"
            assert not [path for path in self.models.rglob("*") if path.is_file() and path.suffix != ".lock"]
            return one_sentence(error)
        assert found.fingerprint == self.fingerprint, "another model was let in"
        shutil.rmtree(self.models)
        return "imported"


def task_of(kind: str, folder: Path, seed: int) -> Callable[[int], str]:
    """Make what a kind of input needs; return what tries the input of a number."""
    if kind == "archives":
        packed = Packed(folder)
        return lambda number: packed.use(seed, number)
    made = Made(folder)
    if kind == "words":
        return lambda number: ask_in_words(made, seed, number)
    return lambda number: made.use(seed, number)


def run(kind: str, seed: int, first: int, last: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Try the inputs of a kind from ``first`` to before ``last``; return the outcomes, and what failed."""
    return outcomes(task_of(kind, folder, seed), first, last, seconds=20)


if __name__ == "__main__":
    np.seterr(all="ignore")
    trying.main(__doc__, ("libraries", "words", "archives"), run)
