"""``roco classify``: which of the given labels fit an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from roco_search.cli.options import (
    CsvOption,
    DeviceOption,
    JsonlOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
    checked_device,
    frame_choice,
    in_panels,
    one_format,
)
from roco_search.cli.output import PARTIAL, call_flags, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.render.classification import Format, Results, show_evaluation, tell_choices
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.errors import InputError
from roco_search.system import process
from roco_search.system.progress import Pace, following

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roco_search.classify import Classifier, Label, Mode
    from roco_search.classify.truth import Matched, Truth
    from roco_search.imaging import FrameChoice
    from roco_search.probe.probe import Probe


PANELS = {
    "Labels and prompts": ("labels", "labels_file", "multi_label", "template", "probe", "library"),
    "Ground truth": ("truth", "truth_column", "ignore_other_truth", "allow_missing", "save_thresholds", "thresholds"),
    "How": ("model", "frames", "device"),
    "Output": ("explain", "explain_dir", "json", "jsonl", "csv", "quiet"),
}


@in_panels(PANELS)
def classify(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGE]…",
            help="Images and folders; with --truth, the default is the files named there.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels", "-l", metavar="A,B,…", help="Labels, separated by commas; repeatable.", show_default=False
        ),
    ] = None,
    labels_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of labels, one per line; or YAML with prompts, or positive: and negative: prompts, for each.",
            show_default=False,
        ),
    ] = None,
    multi_label: Annotated[
        bool,
        typer.Option("--multi-label", help="Compare each label with its own opposite, instead of choosing one label."),
    ] = False,
    template: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help='A prompt to use instead of the built-in ones, such as "a chest x-ray of {}"; repeatable.',
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the share of each prompt, and write a heat map for each image.")
    ] = False,
    explain_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the heat maps of --explain.")] = Path(
        "roco-explain"
    ),
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measure against this CSV, TSV or JSON Lines file of paths and labels.",
            show_default=False,
        ),
    ] = None,
    truth_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column of --truth that holds the labels.", show_default="label"),
    ] = None,
    ignore_other_truth: Annotated[
        bool, typer.Option("--ignore-other-truth", help="Leave out images whose true label is not among the labels.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Measure although over a tenth of the files of --truth are missing.")
    ] = False,
    save_thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --truth: save the Youden threshold of each label.", show_default=False),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Apply saved thresholds.", show_default=False)
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead of labels: use a probe of the library (roco probe).", show_default=False
        ),
    ] = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    frames: Annotated[
        str, typer.Option(metavar="middle|all|N", help="The frames to use of a multi-frame file.")
    ] = "middle",
    device: DeviceOption = "auto",
    json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find which labels fit an image, by comparing it with texts.

    Without --multi-label the labels exclude each other: one softmax over all of them. With it, each label is compared
    with its own opposite, such as "no pneumonia". Probabilities are the model's, not clinical ones. The exit code is 3
    if some images could not be read.

    Example: `roco classify ./scans/head.dcm --labels "CT,MRI"`
    """
    mode: Mode = "multi-label" if multi_label else "exclusive"
    checked = checked_device(device)
    choice = frame_choice(frames) or "middle"
    shape = cast("Format", one_format(json=json, jsonl=jsonl, csv=csv))
    call_flags(column="--truth-column")
    if probe is not None:
        refuse_beside_probe(
            labels=labels, labels_file=labels_file, template=template, explain=explain, model=model,
            thresholds=thresholds, save_thresholds=save_thresholds,
        )  # fmt: skip
        mode = "multi-label"
    elif (images or truth) and not labels and not labels_file:
        refuse('No label is given; name some, such as --labels "normal,pneumonia", or use --labels-file FILE.')
    check_usage(images, truth, explain, save_thresholds, thresholds, mode, choice)
    with Waiting("Reading labels and looking for images", quiet=quiet) as waiting:
        taught = None if probe is None else read_taught(probe, library)
        from roco_search.classify import Label
        from roco_search.classify.truth import Truth

        given = (
            list(map(Label, taught.labels)) if taught else chosen_labels(labels or [], labels_file, images or [], mode)
        )

        process.prepare()
        table = Truth(truth, given, mode, truth_column) if truth else None
        paths, matched = what_to_read(
            images or [], table, quiet, ignore_other=ignore_other_truth, allow_missing=allow_missing
        )
        # Everything that can be refused has been checked: only now is it worth loading the model.
        from roco_search.classify import Classifier
        from roco_search.classify.thresholds import load_thresholds
        from roco_search.models import load_encoder

        waiting.now("Loading the model")
        encoder = load_encoder(taught.model if taught else model, checked)
        limits: Mapping[str, float] | None
        if taught is not None:
            from roco_search.probe.classifying import ProbeClassifier

            by_probe = ProbeClassifier(taught, encoder)
            classifier, limits = cast("Classifier", by_probe), by_probe.thresholds
        else:
            classifier = Classifier(encoder, given, mode, template or ())
            limits = load_thresholds(thresholds, classifier) if thresholds else None
        results = Results(classifier, shape, limits, explain_dir if explain else None, printed=matched is None)
        run(classifier, paths, choice, results, quiet)
    if not quiet and taught is None:
        tell_choices(classifier, results.predictions)
    if not results.predictions:
        nothing_to_show(results, images or [])
    if matched is not None:
        evaluate(classifier, results, matched, limits, shape, save_thresholds)
    else:
        results.finish()
    if results.unreadable:
        raise typer.Exit(PARTIAL)


def refuse_beside_probe(**given: object) -> None:
    """Refuse what a probe, which has its own labels and no prompts, has no use for."""
    if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        refuse(f"--probe brings its own labels and thresholds, and uses no prompt; leave out {names[0]}.")


def read_taught(name: str, library: Path | None) -> Probe:
    """Return a probe of a library."""
    from roco_search.library import Library, default_library_path
    from roco_search.probe.shelf import read_probe

    with Library.open(library or default_library_path()) as opened:
        return read_probe(opened, name)


def check_usage(
    images: list[Path] | None,
    truth: Path | None,
    explain: bool,
    save_thresholds: Path | None,
    thresholds: Path | None,
    mode: Mode,
    frames: FrameChoice,
) -> None:
    """Refuse options that do not go together."""
    if not images and not truth:
        refuse('No image is given; name some, such as: roco classify ./scans --labels "CT,MRI".')
    if save_thresholds and not truth:
        refuse("--save-thresholds needs --truth FILE, a table of what the images really show.")
    if truth and explain:
        refuse("--truth measures many images and --explain explains single ones; leave one of them out.")
    if truth and frames != "middle":
        refuse("--truth describes whole files, so it needs --frames middle; leave --frames out.")
    if truth and thresholds and mode == "exclusive":
        refuse("With --truth, thresholds apply only in --multi-label mode; add that, or leave --thresholds out.")


def chosen_labels(texts: Sequence[str], file: Path | None, images: Sequence[Path], mode: Mode) -> list[Label]:
    """Return the labels of both options; refuse ``--labels normal pneumonia``, which makes an image of the second."""
    from roco_search.classify import read_labels, split_labels
    from roco_search.classify.labels import check_labels

    labels = [*split_labels(texts), *(read_labels(file) if file else [])]
    missing = [path for path in images if not path.exists()]
    if texts and missing and all(not path.suffix and path.name == str(path) for path in missing):
        whole = ",".join(dict.fromkeys([*(label.name for label in split_labels(texts)), *map(str, missing)]))
        refuse(
            f"There is no file {str(missing[0])!r}. If that is a label, write all labels in one pair of quotes, with "
            f'commas between: --labels "{whole}".'
        )
    check_labels(labels, mode)
    return labels


def nothing_to_show(results: Results, images: Sequence[Path]) -> NoReturn:
    """Refuse to print an empty list."""
    if results.unreadable:
        count = len(results.unreadable)
        none = (
            "The image could not be read, for the reason" if count == 1 else f"None of the {count} images could be read"
        )
        raise InputError(f"{none}{'' if count == 1 else ', for the reasons'} above; mend it, or name another.")
    raise InputError(f"There is no image in {', '.join(map(short_path, images))}; name a folder that contains some.")


def what_to_read(
    images: Sequence[Path], table: Truth | None, quiet: bool, *, ignore_other: bool, allow_missing: bool
) -> tuple[list[str | Path], Matched | None]:
    """Return what to classify and its truth; if there is a truth file, only the images that it names are read."""
    if table is None:
        return list(images), None
    from roco_search.classify.reading import find_images

    present = [source.path for source in find_images(images)] if images else table.files()
    folders = [path for path in images if path.is_dir()]
    matched = table.match(present, folders, ignore_other=ignore_other, allow_missing=allow_missing)
    if not quiet:
        tell_left_out(present, matched)
        if matched.missing:
            say(f"Note: {table.say_missing(matched)}; they are not measured.")
    return [path for path in present if path in matched.values], matched


def tell_left_out(present: Sequence[str], matched: Matched) -> None:
    """Print what the truth does not cover."""
    from roco_search.classify.truth import named_counts
    from roco_search.imaging.walk import holds_image

    if matched.left_out:
        say(f"Note: {len(matched.left_out):,} images are left out; their true label is empty or not among the labels.")
    known = {*matched.values, *matched.left_out}
    if silent := sum(holds_image([path]) for path in present if path not in known):
        say(f"Note: {silent:,} images are left out; the truth does not mention them.")
    if matched.other:
        say(f"Note: the truth also has {named_counts(matched.other)}, which are not among the labels.")


def run(
    classifier: Classifier, paths: Sequence[str | Path], frames: FrameChoice, results: Results, quiet: bool
) -> None:
    """Classify everything, with a progress bar; report unreadable files as they occur."""
    from roco_search.classify import Unreadable, classify_files
    from roco_search.classify.reading import find_images

    there = [path for path in paths if Path(path).exists()]
    for path in paths:
        if not Path(path).exists():
            if not isinstance(path, str):  # named by the person, not by a line of the truth
                raise InputError(f"There is no file or folder {path}; check the path.")
            results.unreadable.append(Unreadable(path, "there is no such file; check the path"))
    explain = results.explain if results.directory else None
    done: set[str] = set()
    pace = Pace()
    with following(ProgressBar("Classifying", quiet), len(find_images(there))) as bar:
        for found in classify_files(
            classifier, there, frames=frames, shares=results.directory is not None, seen=explain
        ):
            if isinstance(found, Unreadable):
                results.unreadable.append(found)
            else:
                results.add(found)
            bar.advance(0 if found.path in done else 1, images_per_second=pace.add(1))
            done.add(str(found.path))
    for missing in results.unreadable:
        say(f"Not readable: {short_path(missing.path)}: {missing.reason}")


def evaluate(
    classifier: Classifier,
    results: Results,
    matched: Matched,
    limits: Mapping[str, float] | None,
    shape: Format,
    save: Path | None,
) -> None:
    """Measure the predictions against the truth, print that, and save thresholds."""
    from roco_search.classify.thresholds import save_thresholds
    from roco_search.classify.truth import measure

    found = measure(classifier, results.predictions, matched, limits)
    show_evaluation(found, shape, matched.missing)
    if save is not None:
        without = save_thresholds(save, classifier, found)
        say(f"Thresholds saved to {short_path(save)}; they will do less well on other images.")
        if without:
            say(f"Note: {', '.join(without)} have no threshold, because all images here have them or none does.")
