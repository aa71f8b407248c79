"""Use damaged model folders: each is refused with a `RocoError`, or embeds; no other exception ever gets out.

Small random models of every family are damaged in one place: a value, a key or the bytes of a file, an entry in the
header of the weights, a file that is missing or another model's. A number is the seed of each, so that it can be made
again with ``--only``.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import trying

sys.path.insert(0, str(Path(__file__).parents[2]))

from roco_search import load_encoder
from roco_search.errors import RocoError
from roco_search.models.catalogue.overview import describe
from tests.models.checkpoints import FAMILIES

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 7, 10**9, 10**30, 0.5, -2.5, float("nan"), float("inf")),
    *("", "x", "224", "clip", [], [1], [32, 32], ["a"], {}, {"a": 1}, {"shortest_edge": 8}),
)
TEXTS = ["chest x ray", "a ct of the brain with an effusion " * 9, ""]


def originals(folder: Path) -> list[Path]:
    """Make an undamaged model of each family."""
    return [make(folder / name) for name, make in FAMILIES.items()]


def damaged(models: list[Path], seed: int, number: int, folder: Path) -> str:
    """Make one damaged model; return what was done to it."""
    chance = random.Random(f"{seed} {number}")
    model = chance.choice(models)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    files = sorted(folder.iterdir())
    path = chance.choice(
        [*files, *(file for file in files if file.name in ("config.json", "preprocessor_config.json"))]
    )
    others = [other / path.name for other in models if other != model and (other / path.name).exists()]
    kinds = ["bytes", "bytes", "cut", "missing", *(["another"] if others else [])]
    kinds += ["value"] * 12 if path.suffix == ".json" else ["header"] * 6
    kind = chance.choice(kinds)
    about = f"{number}: {model.name}: {path.name}: {kind}"
    content = path.read_bytes()
    if kind == "value":
        tree = json.loads(content)
        about += f" {mutate(tree, chance)}"
        path.write_text(json.dumps(tree))
    elif kind == "header":
        length = int.from_bytes(content[:8], "little")
        tree = json.loads(content[8 : 8 + length])
        about += f" {mutate(tree, chance)}"
        header = json.dumps(tree).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    elif kind == "bytes":
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 8, 64))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
    elif kind == "cut":
        path.write_bytes(content[: chance.choice((0, 1, 7, 8, 9, len(content) // 2, len(content) - 1))])
    elif kind == "missing":
        path.unlink()
    else:
        shutil.copyfile(chance.choice(others), path)
    return about


def mutate(tree: Any, chance: random.Random) -> str:
    """Change or remove one value of a JSON tree, mostly none of the thousand words of a vocabulary."""
    places = [place for place in walk(tree, ()) if len(place) <= 3 or chance.random() < 0.05]
    place = chance.choice(places)
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    if chance.random() < 0.2:
        del parent[place[-1]]
        return f"without {place}"
    parent[place[-1]] = value = chance.choice(VALUES)
    return f"{place} = {value!r}"


def walk(tree: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON tree."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*above, key)
        yield from walk(value, (*above, key))


def use(folder: Path) -> str:
    """Describe a model and embed with it."""
    picture = np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)
    try:
        encoder = load_encoder(folder, "cpu", "fp32")
        describe(folder)
        found = encoder.encode_images([picture, picture[:20]]), encoder.encode_texts(TEXTS)
        assert found[0].shape == (2, encoder.dim) and found[1].shape == (3, encoder.dim), "another shape"
        assert encoder.fingerprint and encoder.image_size > 0 and encoder.logit_scale > 0
    except RocoError as error:
        assert "\n" not in str(error) and len(str(error)) < 600, f"no one sentence: {error}"
        return "refused"
    return "used"


def run(seed: int, first: int, last: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Use the damaged models of these numbers; return how often each outcome was, and what went wrong."""
    models = originals(folder / "models")
    outcomes: Counter[str] = Counter()
    failures = []
    for number in range(first, last):
        about = damaged(models, seed, number, folder / "damaged")
        try:
            outcome = use(folder / "damaged")
        except Exception as error:
            outcome = "failed"
            frame = traceback.extract_tb(error.__traceback__)
            own = [entry for entry in frame if "roco_search" in entry.filename][-1:]
            failures.append(f"{about}: {type(error).__name__}: {str(error)[:200]} {own}")
        outcomes[outcome] += 1
    return outcomes, failures


if __name__ == "__main__":
    trying.main(__doc__, ("models",), lambda _, *numbers: run(*numbers), inputs=300)
