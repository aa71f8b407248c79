"""How ``roco classify`` prints: predictions and evaluations, as a table, JSON, JSON Lines or CSV."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from roco_search.cli.output import (
    path_cell,
    print_csv,
    print_json,
    print_jsonl,
    print_line,
    print_rows,
    say,
    short_path,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roco_search.classify import Classifier, LabelScore, Picture, Prediction, Unreadable
    from roco_search.cli.tables import Cell
    from roco_search.evaluation import Metric
    from roco_search.statistics.classification import ZeroShot

Format = Literal["table", "json", "jsonl", "csv"]
SHOWN = 5  # exclusive labels of a single image in the table; the other formats have all of them
PROBE = "probe"  # stands for the prompt set where there was none
NONE = "none"  # of the labels reaches its threshold
DISCLAIMER = "probabilities are the model's, not clinical ones"


@dataclass(slots=True)
class Results:
    """What was found so far, and how it is printed. JSON Lines are printed one by one, everything else at the end."""

    classifier: Classifier
    shape: Format
    limits: Mapping[str, float] | None
    directory: Path | None
    printed: bool
    predictions: list[Prediction] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    heat_maps: dict[tuple[str | None, int, str], Path] = field(default_factory=dict)

    def add(self, prediction: Prediction) -> None:
        """Take a prediction."""
        self.predictions.append(prediction)
        if self.printed and self.shape == "jsonl":
            print_jsonl(self._plain(prediction))

    def explain(self, picture: Picture, prediction: Prediction) -> None:
        """Write the heat maps of an image: for its best label, or for every label that it is given."""
        import numpy as np

        from roco_search.classify.heat import draw, heat_maps, write

        assert self.directory is not None
        given = [entry.label for entry in self._given(prediction)]
        directions = np.stack([self.classifier.contrast(label, prediction.prompt_set) for label in given])
        frame = picture.frame if picture.frames > 1 else None
        maps = heat_maps(self.classifier.encoder, picture.pixels, directions)
        for label, heat in zip(given, maps, strict=True):
            path = write(draw(picture.pixels, heat), self.directory, Path(picture.path), label, frame)
            self.heat_maps[prediction.path, prediction.frame, label] = path

    def finish(self) -> None:
        """Print what is not printed yet."""
        if self.shape in {"table", "csv"}:  # the others hold the paths
            for path in self.heat_maps.values():
                say(f"Heat map: {short_path(path)}")
        match self.shape:
            case "json":
                print_json([self._plain(prediction) for prediction in self.predictions])
            case "csv":
                self._csv()
            case "table":
                self._table()

    def _given(self, prediction: Prediction) -> list[LabelScore]:
        best = prediction.labels[0]
        if prediction.mode == "exclusive":
            return [best]
        limits = self.limits or {}
        return [
            entry for entry in prediction.labels if entry.probability >= limits.get(entry.label, 0.5) or entry is best
        ]

    def _plain(self, prediction: Prediction) -> dict[str, Any]:
        plain: dict[str, Any] = {"path": prediction.path, "frame": prediction.frame, "mode": prediction.mode}
        if self.directory is not None:
            plain["prompts"] = {"set": prediction.prompt_set, "guessed": prediction.guessed}
        plain["labels"] = [self._plain_label(prediction, entry) for entry in prediction.labels]
        return plain

    def _plain_label(self, prediction: Prediction, entry: LabelScore) -> dict[str, Any]:
        plain: dict[str, Any] = {"label": entry.label, "probability": entry.probability, "score": entry.score}
        if self.limits is not None:
            plain["above_threshold"] = entry.probability >= self.limits[entry.label]
        if self.directory is not None:
            plain["prompts"] = [asdict(share) for share in entry.shares]
            written = self.heat_maps.get((prediction.path, prediction.frame, entry.label))
            plain["heat_map"] = None if written is None else str(written)
        return plain

    def _csv(self) -> None:
        rows = []
        for prediction in self.predictions:
            place = [prediction.path, prediction.frame, prediction.mode]
            for entry in prediction.labels:
                above = [int(entry.probability >= self.limits[entry.label])] if self.limits is not None else []
                rows.append([*place, entry.label, entry.probability, entry.score, *above])
        threshold = ["above_threshold"] if self.limits is not None else []
        print_csv(["path", "frame", "mode", "label", "probability", "score", *threshold], rows)

    def _table(self) -> None:
        print_line(heading(self.classifier))
        print_line()
        if len(self.predictions) > 1:
            self._images()
        else:
            self._labels(self.predictions[0])
        if self.directory is not None:
            self._shares()

    def _labels(self, prediction: Prediction) -> None:
        """Print a row for each label of the only image."""
        columns = ["probability", "score", *(["given"] if self.limits is not None else []), "label", "prompts", "image"]
        rows: list[list[Cell]] = []
        shown = SHOWN if self.classifier.mode == "exclusive" else len(self.classifier.labels)
        for entry in prediction.labels[:shown]:
            given = []
            if self.limits is not None:
                given = ["yes" if entry.probability >= self.limits[entry.label] else "no"]
            figures = [f"{entry.probability:.3f}", f"{entry.score:.3f}"]
            rows.append([*figures, *given, entry.label, title(prediction), path_cell(prediction.path or "")])
        print_rows(columns, rows, right=("probability", "score"))
        if len(self.classifier.labels) > shown:
            say(f"The {shown} best labels; --json, --jsonl and --csv have all {len(self.classifier.labels)}.")

    def _images(self) -> None:
        """Print a row for each image, and how many images have each label."""
        exclusive = self.classifier.mode == "exclusive"
        many = any(prediction.frame for prediction in self.predictions)
        counts: Counter[str] = Counter()
        rows: list[list[Cell]] = []
        for prediction in self.predictions:
            if exclusive and self.limits is None:
                given = [prediction.labels[0]]
            else:
                limits = self.limits or {}
                given = [entry for entry in prediction.labels if entry.probability >= limits.get(entry.label, 0.5)]
            counts.update([entry.label for entry in given] or [NONE])
            said = ", ".join(f"{entry.label} {entry.probability:.3f}" for entry in given) or NONE
            frame = [str(prediction.frame + 1)] if many else []
            rows.append([said, title(prediction), *frame, path_cell(prediction.path or "")])
        columns = ["label" if exclusive else "labels", "prompts", *(["frame"] if many else []), "image"]
        print_rows(columns, rows, right=("frame",))
        print_line()
        total = len(self.predictions)
        names = [*(label.name for label in self.classifier.labels), *([NONE] if counts[NONE] else [])]
        totals = [[name, f"{counts[name]:,}", f"{100 * counts[name] / total:.1f} %"] for name in names]
        print_rows(["total", "images", f"of {total:,}"], totals, right=("images", f"of {total:,}"))
        if len(self.classifier.labels) > 1:
            say("Each image's probabilities of all labels: --json, --jsonl or --csv.")

    def _shares(self) -> None:
        rows = [
            (f"{share.share:+.4f}", entry.label, share.side, share.text, path_cell(prediction.path or ""))
            for prediction in self.predictions
            for entry in prediction.labels
            for share in entry.shares
        ]
        print_line()
        print_rows(("share", "label", "side", "prompt", "image"), rows, right=("share",))


def heading(classifier: Classifier) -> str:
    """Return the line that says which mode was used."""
    if (probe := getattr(classifier, "probe", None)) is not None:
        return f"probe {probe.name}: each label on its own; probabilities are the probe's, not clinical ones"
    if classifier.mode == "exclusive":
        return f"exclusive: one softmax over {len(classifier.labels)} labels; {DISCLAIMER}"
    return f"multi-label: each label on its own against its opposite; {DISCLAIMER}"


def title(prediction: Prediction) -> str:
    """Return which prompts were used, and whether the model chose them."""
    from roco_search.vocabulary import prompt_sets

    if prediction.prompt_set == PROBE:
        return ""
    sets = prompt_sets()
    name = sets[prediction.prompt_set].title if prediction.prompt_set in sets else "for any image"
    return f"{name} (guessed)" if prediction.guessed else name


def tell_choices(classifier: Classifier, predictions: Sequence[Prediction]) -> None:
    """Print how labels were understood, and which prompt sets the model guessed."""
    from roco_search.classify import meaning

    if classifier.mode == "multi-label":
        against = {"normal": "abnormal images", "abnormal": "normal images"}
        for label in classifier.labels:
            said = meaning(label.name)
            if not label.negative and said.kind in {*against, "absence"}:
                opposite = against.get(said.kind, f"{said.of!r}")
                say(f"Note: {label.name!r} is compared with {opposite}; a labels file can change that.")
    guessed = Counter(title(prediction) for prediction in predictions if prediction.guessed)
    if guessed:
        named = ", ".join(f"{name.removesuffix(' (guessed)')} {count:,}" for name, count in guessed.most_common())
        say(f"Note: where the header does not state what an image is, the model chose the prompts: {named}.")


def show_evaluation(found: ZeroShot, shape: Format, missing: Sequence[str] = ()) -> None:
    """Print an evaluation; JSON has the files of the truth that are ``missing`` too."""
    match shape:
        case "json":
            print_json({**asdict(found), "missing": list(missing)})
        case "jsonl":
            print_jsonl({**asdict(found), "missing": list(missing)})
        case "csv":
            _evaluation_csv(found)
        case "table":
            _evaluation_table(found)


def _evaluation_table(found: ZeroShot) -> None:
    print_line(f"{found.mode}, {found.images:,} images, 95 % bootstrap intervals over images")
    print_line(f"accuracy   {interval(found.accuracy)}   by {found.decided_by}")
    if found.mean_per_class_recall is not None:
        print_line(f"recall     {interval(found.mean_per_class_recall)}   mean over the labels")
    print_line(f"macro AUC  {interval(found.macro_auc)}")
    print_line()
    rows = []
    for entry in found.labels:
        best = entry.youden
        figures = ("–", "–", "–") if best is None else (best.probability, best.sensitivity, best.specificity)
        numbers = [figure if isinstance(figure, str) else f"{figure:.3f}" for figure in figures]
        rows.append([entry.label, f"{entry.positives:,}", f"{entry.images:,}", interval(entry.auc), *numbers])
    columns = ("label", "positive", "of", "AUC", "Youden threshold", "sensitivity", "specificity")
    print_rows(columns, rows, right=columns[1:])
    if found.confusion is not None:
        print_line()
        names = [entry.label for entry in found.labels]
        cells = [[name, *map(str, row)] for name, row in zip(names, found.confusion, strict=True)]
        print_rows(("truth \\ called", *names), cells, right=names)


def interval(metric: Metric | None) -> str:
    """Return "0.912 (0.880–0.941)"."""
    return "–" if metric is None else f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})"


def _evaluation_csv(found: ZeroShot) -> None:
    figures: list[tuple[str, str | None, int, int | None, Metric | None]] = [
        ("accuracy", None, found.images, None, found.accuracy),
        ("macro_auc", None, found.images, None, found.macro_auc),
        *(("auc", entry.label, entry.images, entry.positives, entry.auc) for entry in found.labels),
    ]
    rows = [
        [*place, *((None, None, None) if metric is None else (metric.value, metric.low, metric.high))]
        for *place, metric in figures
    ]
    print_csv(["measure", "label", "images", "positives", "value", "low", "high"], rows)
