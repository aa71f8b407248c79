"""Compare recipes by cross-validation over cases, on training rows alone, so that the development rows stay unseen.

    python scripts/roco_mini/validate.py run DATA NAME --output runs/folds [--recipe FOLDER] [--start NAME]
    python scripts/roco_mini/validate.py blend DATA NAME OTHER --share 0.5 --output runs/folds
    python scripts/roco_mini/validate.py projections DATA NAME --output runs/folds
    python scripts/roco_mini/validate.py compare NAME OTHER --output runs/folds
    python scripts/roco_mini/validate.py look DATA MODEL

The cases of all training rows are divided into five folds. ``run`` trains a recipe, a folder of scripts such as this
one, on four of them in short form (``--steps`` at ``--size`` pixels) for each fold of ``--folds``, and stores what it
does on the fifth: the ranks of the written captions, precision at 10 of the plain query of each class, and drawings
among the hits. ``--start NAME`` begins each fold at the end of that run's same fold; ``--recipe`` at another revision's
folder compares with a recipe of the past; ``--without SOURCE`` leaves a source out of training and judges on it alone.
``blend`` judges a mean of the weights of two runs, ``projections`` a run whose projections were learned anew.
``compare`` prints all and the ratio of each to the last, with a paired bootstrap over cases. ``look`` judges a finished
model on the development rows, which is done once, for its card.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn import KINDS, drawn_pairs
from examples import without_shown
from names import plain_query, with_wider
from projections import relearn
from towers import mean, write_towers

from roco_search.datasets import TrainingData, open_pairs, open_training
from roco_search.datasets.pair import Pair
from roco_search.evaluation.protocols import rank_shuffled_32
from roco_search.models import load_encoder
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.torch_encoder import TorchEncoder
from roco_search.statistics.ranks import ranks_both_ways
from roco_search.system import process

FOLDS = 5
SEED = 20261126
MIXED_IN = 60  # drawings among the images that the plain queries are asked of
MORE_QUERIES = (
    "pleural effusion",
    "pneumothorax",
    "cardiomegaly",
    "pneumonia",
    "fracture",
    "glioma",
    "intracranial hemorrhage",
    "lung nodule",
    "coronary stenosis",
    "disc herniation",
    "CXR",
    "MRI",
    "CT",
    "ultrasound",
)
FIGURES = ("shuffled-32 recall@1", "image-to-text recall@10", "text-to-image recall@10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run")
    run.set_defaults(do=run_folds)
    run.add_argument("data", type=Path)
    run.add_argument("name")
    run.add_argument("--recipe", type=Path, default=Path(__file__).parent)
    run.add_argument("--start", help="the name of a run to begin at")
    run.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--steps", type=int, default=300)
    run.add_argument("--size", type=int, default=128, help="the side in pixels that is trained on")
    run.add_argument("--learning-rate", type=float, default=1e-3)
    run.add_argument("--sources", nargs="+", help="train on rows of these alone")
    run.add_argument("--without", nargs="+", default=[], help="hold these sources out, instead of a fold")
    compare = commands.add_parser("compare")
    compare.set_defaults(do=compare_runs)
    compare.add_argument("names", nargs="+")
    look = commands.add_parser("look")
    look.set_defaults(do=look_once)
    look.add_argument("data", type=Path)
    look.add_argument("model")
    blend = commands.add_parser("blend")
    blend.set_defaults(do=blend_runs)
    blend.add_argument("data", type=Path)
    blend.add_argument("names", nargs=2)
    blend.add_argument("--share", type=float, default=0.5, help="of the first run's weights")
    anew = commands.add_parser("projections")
    anew.set_defaults(do=learn_projections)
    anew.add_argument("data", type=Path)
    anew.add_argument("name")
    for command in (run, compare, blend, anew):
        command.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.do(args)


def run_folds(args: argparse.Namespace) -> None:
    """Train and judge fold after fold; one that is done is not repeated."""
    process.prepare()
    sys.path.insert(0, str(args.recipe))
    for name in ("captions", "mirror", "noise", "draws", "train"):
        sys.modules.pop(name, None)  # this folder's may have been imported already
    recipe = importlib.import_module("train")
    everything = open_training(args.data)
    pairs = without_shown(everything.train.pairs)
    for fold in args.folds if not args.without else [0]:
        where = args.output / args.name / str(fold)
        if (where / "found.json").exists():
            continue
        held = [pair.columns["source"] in args.without for pair in pairs] if args.without else in_fold(pairs, fold)
        learnt = [
            pair
            for pair, out in zip(pairs, held, strict=True)
            if not out and (not args.sources or pair.columns["source"] in args.sources)
        ]
        kinds = sorted(set(KINDS) - set(sorted(KINDS)[fold::FOLDS]))
        if hasattr(recipe, "prepared"):
            learnt = recipe.prepared(learnt, drawn_pairs(recipe.DRAWN, kinds))
        else:  # the first recipe, which knew no drawings
            learnt = recipe.with_mirrored(recipe.with_captions(learnt))
        start = args.output / args.start / str(fold) / "run-end" if args.start else where / "towers"
        if not start.exists():
            torch.manual_seed(fold)
            write_towers(start)
        few = replace(everything.validation, pairs=learnt[:40])  # the end of a run is validated once
        data = TrainingData(replace(everything.train, pairs=learnt), few, False)
        settings = {
            **(recipe.MORE if args.start else {}),
            "max_steps": args.steps,
            "image_size": args.size,
            "seed": 300 + fold,
            "learning_rate": args.learning_rate,
            "warmup": args.steps // 8,
        }
        end = recipe.train(start, data, settings, where / "run")
        used_at(end, args.size * 5 // 4 // 32 * 32)
        encoder = TorchEncoder(Checkpoint.open(end.name, end), "cpu", "fp32")
        judged = [pair for pair, out in zip(pairs, held, strict=True) if out]
        found = judge(encoder, judged, sorted(KINDS)[fold::FOLDS])
        (where / "found.json").write_text(json.dumps(found))
        print(args.name, fold, json.dumps(summary([found])), flush=True)


def blend_runs(args: argparse.Namespace) -> None:
    """Judge the mean of two runs on every fold that both have, under the name of both."""
    one, other = (args.output / name for name in args.names)
    pairs = without_shown(open_training(args.data).train.pairs)
    for found in sorted(one.glob("*/found.json")):
        fold = int(found.parent.name)
        where = args.output / f"{args.names[0]}-{args.share}-{args.names[1]}" / str(fold)
        end = mean(found.parent / "run-end", other / str(fold) / "run-end", args.share, where / "run-end")
        encoder = TorchEncoder(Checkpoint.open(end.name, end), "cpu", "fp32")
        judged = [pair for pair, out in zip(pairs, in_fold(pairs, fold), strict=True) if out]
        (where / "found.json").write_text(json.dumps(judge(encoder, judged, sorted(KINDS)[fold::FOLDS])))


def learn_projections(args: argparse.Namespace) -> None:
    """Learn the projections of a run anew on every fold that it has, and judge that under the name NAME-projections."""
    import train as recipe

    process.prepare()
    pairs = without_shown(open_training(args.data).train.pairs)
    for found in sorted((args.output / args.name).glob("*/found.json")):
        fold = int(found.parent.name)
        where = args.output / f"{args.name}-projections" / str(fold)
        held = in_fold(pairs, fold)
        unseen = sorted(KINDS)[fold::FOLDS]
        learnt = [pair for pair, out in zip(pairs, held, strict=True) if not out]
        learnt = recipe.prepared(learnt, drawn_pairs(recipe.DRAWN, sorted(set(KINDS) - set(unseen))))
        end = relearn(found.parent / "run-end", learnt, where)
        encoder = TorchEncoder(Checkpoint.open(end.name, end), "cpu", "fp32")
        judged = [pair for pair, out in zip(pairs, held, strict=True) if out]
        (where / "found.json").write_text(json.dumps(judge(encoder, judged, unseen)))


def look_once(args: argparse.Namespace) -> None:
    """Print what a finished model does on the development rows."""
    encoder = load_encoder(args.model, device="cpu", precision="fp32")
    found = judge(encoder, open_pairs(args.data, "dev").pairs, sorted(KINDS))
    print(json.dumps(found["precision"], indent=1))
    print(json.dumps(summary([found])), "queries", len(found["drawn"]))


def in_fold(pairs: Sequence[Pair], fold: int) -> list[bool]:
    """Whether each pair's case is in a fold; cases with written captions are divided as evenly as all."""
    written = {pair.case for pair in pairs if pair.columns["text_kind"] == "written"}
    places: dict[str | None, int] = {}
    for part in (written, {pair.case for pair in pairs} - written):
        order = np.random.default_rng(SEED).permutation(sorted(map(str, part)))
        places |= {case: place % FOLDS for place, case in enumerate(order)}
    return [places[pair.case] == fold for pair in pairs]


def used_at(folder: Path, size: int) -> None:
    """Set the side in pixels at which a model is used: random crops show things larger than whole images do."""
    for name, key in (("preprocessor_config.json", "size"), ("config.json", "vision_config")):
        content = json.loads((folder / name).read_text())
        content[key] |= {"height": size, "width": size} if key == "size" else {"image_size": size}
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def judge(encoder: Any, pairs: Sequence[Pair], unseen: Sequence[str]) -> dict[str, Any]:
    """Return the ranks of the written captions, the precision of plain queries, and drawings among their hits."""
    images = embed(encoder, pairs)
    found: dict[str, Any] = {}
    own = [i for i, pair in enumerate(pairs) if pair.columns["text_kind"] == "written"]
    if len(own) >= 32:
        captions = [pairs[i].caption for i in own]
        texts = encoder.encode_texts(captions)
        ranks = ranks_both_ways(images[own], texts, captions)
        found["case"] = [str(pairs[i].case) for i in own]
        found["source"] = [pairs[i].columns["source"] for i in own]
        found["shuffled-32"] = rank_shuffled_32(images[own], texts, captions).values.tolist()
        for direction in ("image-to-text", "text-to-image"):
            found[direction] = ranks[(direction, "strict")].tolist()
    classes = [(pair.columns["modality"], pair.columns["body_part"]) for pair in pairs]
    asked = sorted({of for of in classes if classes.count(of) >= 4})
    words = [plain_query(*of) for of in asked]
    queries = encoder.encode_texts([*words, *MORE_QUERIES])
    nothing = drawn_pairs(MIXED_IN // len(unseen) + 1, unseen, first=10_000)[:MIXED_IN]
    scores = queries @ np.concatenate([images, embed(encoder, nothing)]).T
    found["precision"] = {}
    found["drawn"] = ((-scores).argsort(axis=1, kind="stable")[:, :10] >= len(images)).sum(axis=1).tolist()
    for of, row in zip(asked, scores, strict=False):
        right = np.array([shows(other, of) for other in classes])
        count = min(10, int(right.sum()))
        best = np.argsort(-row[: len(images)], kind="stable")[:count]
        found["precision"][" ".join(of)] = float(right[best].mean())
    return found


def shows(image: tuple[str, str], asked: tuple[str, str]) -> bool:
    """Whether an image of one modality and part is an answer to the plain query for another."""
    return image[0] == asked[0] and asked[1] in with_wider(image[1])


def embed(encoder: Any, pairs: Sequence[Pair]) -> np.ndarray:
    """Return float32 ``(n, dim)``."""
    parts = [pairs[start : start + 64] for start in range(0, len(pairs), 64)]
    return np.concatenate([encoder.encode_images([pair.picture.read() for pair in part]) for part in parts])


def figures(parts: Sequence[Mapping[str, Any]], rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the three figures of chosen rows of each fold, pooled."""
    shuffled = np.concatenate([np.asarray(part["shuffled-32"])[own] for part, own in zip(parts, rows, strict=True)])
    both = [
        np.concatenate([np.asarray(part[direction])[own] <= 10 for part, own in zip(parts, rows, strict=True)]).mean()
        for direction in ("image-to-text", "text-to-image")
    ]
    return np.array([shuffled[:, 1].sum() / shuffled[:, 0].sum(), *both])


def summary(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each figure over the folds, with its standard error where there are several."""
    of: dict[str, list[float]] = {}
    for part in parts:
        if "case" in part:
            for name, value in zip(FIGURES, figures([part], [np.arange(len(part["case"]))]), strict=True):
                of.setdefault(name, []).append(value)
        of.setdefault("precision at 10", []).append(float(np.mean(list(part["precision"].values()))))
        of.setdefault("worst class", []).append(min(part["precision"].values()))
        of.setdefault("queries with a drawing", []).append(float(np.mean(np.array(part["drawn"]) > 0)))
    error = len(parts) ** 0.5
    return {
        name: [
            round(float(np.mean(values)), 4),
            round(float(np.std(values, ddof=1) / error), 4) if len(values) > 1 else None,
        ]
        for name, values in of.items()
    }


def compare_runs(args: argparse.Namespace) -> None:
    """Print the figures of runs on the folds that all have, and the ratio of each to the last."""
    folds = sorted(
        set.intersection(*({p.parent.name for p in (args.output / n).glob("*/found.json")} for n in args.names))
    )
    if not folds:
        raise SystemExit(
            f"No fold was run for all of {', '.join(args.names)} in {args.output}; run `validate.py run` first."
        )
    runs = {
        name: [json.loads((args.output / name / f / "found.json").read_text()) for f in folds] for name in args.names
    }
    print("folds", *folds)
    for name, parts in runs.items():
        print(name, json.dumps(summary(parts)))
    base = runs[args.names[-1]]
    cases = [np.unique(part["case"], return_inverse=True)[1] for part in base]
    for name in args.names[:-1]:
        random = np.random.default_rng(0)
        ratios = []
        for draw in range(1001):
            rows = []
            for of in cases:
                members = [np.flatnonzero(of == case) for case in range(of.max() + 1)]
                chosen = random.integers(0, len(members), len(members)) if draw else range(len(members))
                rows.append(np.concatenate([members[case] for case in chosen]))
            one, other = figures(runs[name], rows), figures(base, rows)
            ratios.append([*(one / other), one.mean() / other.mean()])
        value, (low, high) = ratios[0], np.percentile(ratios[1:], (2.5, 97.5), axis=0)
        for figure, v, lo, hi in zip((*FIGURES, "mean of the three"), value, low, high, strict=True):
            print(f"{name} / {args.names[-1]}  {figure}: {v:.3f} ({lo:.3f} to {hi:.3f})")


if __name__ == "__main__":
    main()
