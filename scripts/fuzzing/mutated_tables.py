"""Read mutated tables of captions, truth and labels: what comes out is what Python's own readers say, or a refusal.

    scripts/fuzz tables --inputs 3000 --seed 1

Each input is a small sound table with quotes, line ends, encodings, cells, rows or names changed. Roco's readers must
give exactly the cells that `csv.reader` gives under strict reading (`json.loads` for JSON Lines, `yaml.safe_load` for
labels), and a pair for each row; or refuse the file in a sentence that names the line. Inputs depend on the seed and
their number alone: `--only NUMBER` prints one.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trying
import yaml
from PIL import Image

from roco_search.classify import read_labels
from roco_search.classify.truth import Truth
from roco_search.datasets import open_pairs
from roco_search.datasets.tables import read_table
from roco_search.errors import InputError

CAPTIONS = (
    "a chest, frontal",
    'the "silhouette" sign',
    "two lines\nof one text",
    "5 mm nodule",
    "naïve — Übersicht 胸部",
    " much  space ",
    "semi; colon\tand tab",
    "",
)
SUMMARY = (  # refusals that are about the whole file
    "has no row", "has no column", "no pair of an image", "has no split", "holds no label", "is no text", "as text",
    "says nothing of these images", "has none of the labels", "none of which is among", "not YAML text", "is empty",
)  # fmt: skip
Expected = list[dict[str, Any]] | None
"""What a file says by Python's own readers; None where they refuse it."""


def rows() -> list[list[str]]:
    return [[f"images/{number}.png", text, "ab"[number % 2]] for number, text in enumerate(CAPTIONS)]


def separated(delimiter: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([["path", "caption", "label"], *rows()])
    return file.getvalue()


def json_lines() -> str:
    cells = [dict(zip(("path", "caption", "label"), row, strict=True)) for row in rows()]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in cells)


KINDS: dict[str, Callable[[], str]] = {
    "table.csv": lambda: separated(","),
    "table.tsv": lambda: separated("\t"),
    "semicolons.csv": lambda: separated(";"),
    "metadata.csv": lambda: separated(","),
    "metadata.jsonl": json_lines,
    "table.jsonl": json_lines,
    "labels.txt": lambda: "normal\n# a comment\nno finding\npleural  effusion\n\nCT\n",
    "labels.yaml": lambda: "normal:\n  aliases: [no finding]\npneumonia: [an opacity, 'a \"white\" lung']\nCT:\n",
    "list.yaml": lambda: "- normal\n- 'pneumonia'\n- \"CT\"\n",
}


def made(seed: int, number: int) -> tuple[str, bytes]:
    """Return the name and the content of an input."""
    chance = random.Random(f"{seed}-{number}")
    name = list(KINDS)[number % len(KINDS)]
    text = KINDS[name]()
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        text = mutate(text, chance)
    encoding = chance.choices(("utf-8", "utf-8-sig", "latin-1", "utf-16"), (12, 3, 1, 1))[0]
    content = text.encode(encoding, "replace")
    if content and chance.random() < 0.1:
        place = chance.randrange(len(content))
        content = content[:place] + bytes([chance.randrange(256)]) + content[place + 1 :]
    return name, content


def mutate(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text) + 1)
    lines = text.splitlines(keepends=True) or [""]
    line = chance.randrange(len(lines))
    match chance.randrange(11):
        case 0 | 1:
            return text[:place] + chance.choice(('"', '""', "'", '"\n')) + text[place:]
        case 2:
            quotes = [found.start() for found in re.finditer('"', text)]
            gone = chance.choice(quotes) if quotes else place
            return text[:gone] + text[gone + 1 :]
        case 3:
            return text.replace("\n", chance.choice(("\r\n", "\r", "\n\n", "\r\r\n")))
        case 4:
            return (
                text[:place] + chance.choice((",", "\t", ";", "|", "\n", "\r", "\0", "\u2028", "\x0b")) + text[place:]
            )
        case 5:
            return text[:place]
        case 6:
            lines.insert(line, chance.choice((lines[line], "\n", ",,\n", " \n", "x\n")))
        case 7:
            del lines[line]
        case 8:
            lines[line] = lines[line].rstrip("\n") + chance.choice((",", ",,", ",x", ";", "\t", ' "')) + "\n"
        case 9:
            return text.replace(
                *chance.choice((("caption", "path"), ("label", "caption"), ("path", " path "), (":", "")))
            )
        case _:
            return text[:place] + text[place + chance.choice((1, 2, 8)) :]
    return "".join(lines)


def by_csv(text: str, delimiter: str) -> Expected:
    """Read as Python's csv does under strict reading; None if it refuses, or rows and header do not agree."""
    try:
        header, *read = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row
        ]
    except (csv.Error, ValueError):
        return None
    names = [name.strip() for name in header]
    if any(len(row) < len(names) or "".join(row[len(names) :]).strip() for row in read):
        return None
    return [dict(zip(names, row, strict=False)) for row in read]


def by_json(text: str) -> Expected:
    try:
        read = [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError:
        return None
    return read if all(isinstance(row, dict) for row in read) else None


def check(path: Path, content: bytes) -> str:
    """Read one input with everything that reads such a file; return "read" or "refused", or raise `AssertionError`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if path.name.startswith(("labels", "list")):
        return check_labels(path, text)
    try:
        table = read_table(path)
    except InputError as error:
        return refused(error)
    assert text is not None, "what is not UTF-8 was read"
    is_json = path.suffix == ".jsonl" or text.lstrip().startswith("{")
    marks = "\t" if path.suffix == ".tsv" else ",;\t|"
    readings = [by_json(text)] if is_json else [by_csv(text, mark) for mark in marks]
    cells = [row for _, row in table.rows]
    expected = next((read for read in readings if read == cells), None)
    assert expected is not None, f"other cells than Python reads: {cells}"
    lines = [line for line, _ in table.rows]
    assert lines == sorted(set(lines)) and lines[-1] <= text.count("\n") + text.count("\r") + 1
    expected = [{name.strip(): cell for name, cell in row.items()} for row in expected]
    return "read" if check_pairs(path, expected) == check_truth(path, expected) == "read" else "refused"


def check_pairs(path: Path, expected: list[dict[str, Any]]) -> str:
    """Each row is a pair with its own caption and image, or is counted as left out."""
    data = path.parent if path.stem == "metadata" else path
    try:
        found = open_pairs(data, "train")
    except InputError as error:
        return refused(error)
    said = {(number, " ".join(str(row.get("caption", "")).split())) for number, row in enumerate(expected)}
    assert len(found) + found.left_out.counts.total() == len(expected), "rows were lost"
    captions = [caption for _, caption in sorted(said)]
    places = iter(range(len(expected)))
    for pair in found.pairs:
        place = next(
            (p for p in places if captions[p] == pair.caption and _shows(expected[p], pair.picture.name)), None
        )
        assert place is not None, f"a pair that no row says: {pair.picture.name} {pair.caption!r}"
    return "read"


def _shows(row: dict[str, Any], name: str) -> bool:
    said = Path(str(row.get("path", "")).strip().replace("\\", "/")).name
    return said in {Path(name).name, Path(name).stem}  # a table may leave an image's ending out, as ROCO's does


def check_truth(path: Path, expected: list[dict[str, Any]]) -> str:
    labels = [*read_labels_of("a\nb\n", path.parent)]
    try:
        truth = Truth(path, labels, "exclusive")
        matched = truth.match(truth.files(), ignore_other=True, allow_missing=True)
    except InputError as error:
        return refused(error)
    assert [row.path for row in truth.rows] == [str(row["path"]).strip() for row in expected]
    for image, value in matched.values.items():
        label = "ab"[int(value.argmax())]
        assert any(label in _labels_of(row) and _shows(row, image) for row in expected), (
            f"a truth that no row says: {image} {label}"
        )
    return "read"


def _labels_of(row: dict[str, Any]) -> list[str]:
    return [text.strip() for text in re.split("[;|]", str(row.get("label", "")))]


def read_labels_of(text: str, folder: Path) -> list[Any]:
    path = folder / "two-labels.txt"
    path.write_text(text)
    return read_labels(path)


def check_labels(path: Path, text: str | None) -> str:
    try:
        found = [label.name for label in read_labels(path)]
    except InputError as error:
        return refused(error)
    assert text is not None, "what is not UTF-8 was read"
    if path.suffix == ".txt":
        lines = [" ".join(line.split()) for line in text.splitlines()]
        expected = [line for line in lines if line and not line.startswith("#")]
    else:
        expected = [" ".join(str(name).split()) for name in yaml.load(text, Loader=yaml.BaseLoader)]
    assert found == expected, f"{found} instead of {expected}"
    return "read"


def refused(error: InputError) -> str:
    said = str(error)
    assert re.search(r"line \d+", said) or any(part in said for part in SUMMARY), f"a refusal without its line: {said}"
    return "refused"


def run(seed: int, first: int, last: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Check the inputs from ``first`` to before ``last``; return the outcomes, and what failed."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for number in range(len(CAPTIONS)):
        if not (images / f"{number}.png").exists():
            Image.new("L", (4, 4), number).save(images / f"{number}.png")
    outcomes: Counter[str] = Counter()
    failures = []
    for number in range(first, last):
        name, content = made(seed, number)
        path = folder / name
        path.write_bytes(content)
        try:
            outcome = check(path, content)
        except InputError:
            raise
        except Exception as error:
            outcome = "failed"
            failures.append(f"{number} ({name}): {type(error).__name__}: {error}\n{content!r}")
        outcomes[outcome] += 1
        path.unlink()
    return outcomes, failures


if __name__ == "__main__":
    trying.main(__doc__, ("tables",), lambda _, *numbers: run(*numbers), inputs=3000)
