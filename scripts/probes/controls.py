"""Whether a probe's controls hold on real images, over several seeds: the figures of ``manual/teach.md``.

    scripts/probes/controls.py PAIRS --library DIR [--seeds 10]

Two questions are asked of the tasks of `measure`:

- **shuffled labels**: on the images of each task in ``PAIRS/dev``, each case is given the labels of another. The AUC of
  held-out probabilities is to be 0.5: its mean over seeds, and how often 0.5 is in its 95 % interval by case.
- **a planted shortcut**: copies of those images, with labels drawn by chance for each case, so that no finding tells
  them. In one set a corner of all positives is bright, in the other none is. The control is to tell the first and not
  the second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from measure import TASKS, Measured, of_pairs, read

from roco_search.library import Library
from roco_search.models import load_encoder
from roco_search.models.encoder import Encoder
from roco_search.probe.examples import from_labels
from roco_search.probe.probe import Claim
from roco_search.probe.teaching.controls import shuffled
from roco_search.probe.teaching.fitting import Material, held_out_logits, probabilities
from roco_search.probe.teaching.teach import teach
from roco_search.statistics.binary import measure

MOST = 150  # Images of a planted set.
CORNER = 12  # A bright corner is this part of a side.


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    pairs = options.pairs.resolve()
    with of_pairs(options.library, pairs) as library:
        encoder = load_encoder(library.active().model)
        nonsense([(task.name, read(library, encoder, pairs, task)) for task in TASKS], options.seeds)
        planted(library, encoder, pairs, options.seeds)


def nonsense(measured: list[tuple[str, Measured]], seeds: int) -> None:
    print(f"\n## Shuffled labels, {seeds} seeds\n\n| images | label | AUC | 0.5 in the interval |\n|---|---|---|---|")
    everything, inside = [], 0
    for name, material in measured:
        for column, label in enumerate(material.examples.names):
            rows = np.flatnonzero(material.dev & np.isfinite(material.examples.truth[:, column]))
            vectors = material.vectors[rows]
            whole = Material(
                material.space.basis.coordinates(vectors),
                material.space.prior(vectors, column),
                material.examples.truth[rows, column] == 1,
                material.examples.cases[rows],
            )
            found = [area for seed in range(seeds) if (area := _of_nonsense(whole, seed)) is not None]
            within = sum(low <= 0.5 <= high for _, low, high in found)
            mean = np.mean([value for value, _, _ in found])
            print(f"| {name} | {label} | {mean:.3f} | {within} of {len(found)} |", flush=True)
            everything += [value for value, _, _ in found]
            inside += within
    error = np.std(everything) / np.sqrt(len(everything))
    print(f"\nAll: {np.mean(everything):.3f} (standard error {error:.3f}), {inside} of {len(everything)}")


def _of_nonsense(material: Material, seed: int) -> tuple[float, float, float] | None:
    moved = replace(material, positive=shuffled(material.positive, material.cases, seed))
    logits = held_out_logits(moved, seed=seed)
    known = np.isfinite(logits)
    if not known.any() or len(np.unique(moved.positive[known])) < 2:
        return None
    figure = measure(probabilities(logits[known]), moved.positive[known], moved.cases[known], seed=seed)["auc"].metric
    return figure.value, figure.low, figure.high


def planted(library: Library, encoder: Encoder, pairs: Path, seeds: int) -> None:
    print(f"\n## A planted shortcut, {seeds} seeds, labels by chance\n")
    print("| corner | AUC of the control | suspected |\n|---|---|---|")
    found: dict[bool, list[Claim]] = {True: [], False: []}
    for seed in range(seeds):
        task = TASKS[seed % len(TASKS)]
        material = read(library, encoder, pairs, task)
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(material.dev))[:MOST]
        paths = [frame.path for frame in library.frames.get(material.examples.ids[rows].tolist()).values()]
        positive = _by_chance(material.examples.cases[rows], seed)
        for bright, claims in found.items():
            claims.append(_taught(encoder, paths, positive, material.examples.cases[rows], bright=bright, seed=seed))
    for bright, claims in found.items():
        areas = [claim.shortcut[0] for claim in claims if claim.shortcut is not None]
        suspected = sum(claim.suspect for claim in claims)
        spread = f"{np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})"
        print(f"| {'bright' if bright else 'none'} | {spread} | {suspected} of {len(claims)} |")


def _by_chance(cases: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.bool_]:
    known, of_case = np.unique(cases, return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(known)) % 2 == 0)[of_case])


def _taught(
    encoder: Encoder,
    paths: list[str],
    positive: npt.NDArray[np.bool_],
    cases: npt.NDArray[np.int64],
    *,
    bright: bool,
    seed: int,
) -> Claim:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "films").mkdir()
        rows = []
        for number, (path, shows, case) in enumerate(zip(paths, positive.tolist(), cases.tolist(), strict=True)):
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
            if bright and shows:
                side = max(1, min(picture.size) // CORNER)
                picture.paste((250, 250, 250), (0, 0, side, side))
            picture.save(folder / "films" / f"{number}.png")
            rows.append({"path": f"films/{number}.png", "mark": int(shows), "case": str(case)})
        table = folder / "labels.jsonl"
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        with Library.create_or_open(folder / "library") as library:
            library.index([folder / "films"], encoder)
            return teach(
                library, encoder, "mark", from_labels(library, table, labels=("mark",)), seed=seed
            ).probe.claims[0]


if __name__ == "__main__":
    main()
