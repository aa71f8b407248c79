"""``roco eval``: how well a model finds captions and images, and distinguishes classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from roco_search.cli.options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    checked_device,
    in_panels,
    installed_models,
    one_of,
)
from roco_search.cli.output import PARTIAL, print_json, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.render.evaluation import show, tell_left_out
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.models import Precision
from roco_search.system import process

if TYPE_CHECKING:
    from roco_search.evaluation.protocols import Protocol
    from roco_search.evaluation.run import Evaluation

PROTOCOLS = ("whole", "roco-v1", "m3ae-2k", "shuffled-32")


PANELS = {
    "What to measure": (
        "model",
        "against",
        "protocol",
        "by",
        "classify",
        "labels",
        "labels_file",
        "image_to_image",
        "same_case",
        "seed",
    ),
    "Which pairs": ("split", "where", "licence", "ignore_other_truth"),
    "How": ("device", "precision"),
    "Output": ("json", "quiet", "report", "confusion"),
}


@in_panels(PANELS)
def evaluate_model(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder or file with images and captions, or a hub data set's id.")
    ],
    model: ModelOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="Compare with a second model on the same pairs.",
            show_default=False,
            autocompletion=installed_models,
        ),
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="The split to measure.")] = "test",
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only pairs with this value; repeatable.", show_default=False),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only pairs under this licence; repeatable.", show_default=False),
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Measure each value of this column too.", show_default=False)
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"A protocol besides the whole pool: {', '.join(PROTOCOLS)}; repeatable.",
            show_default=False,
        ),
    ] = None,
    classify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Classify by this column instead, such as modality or labels[1]; repeatable.",
            show_default=False,
        ),
    ] = None,
    image_to_image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Find images by images instead, those with the same value in this column; repeatable.",
            show_default=False,
        ),
    ] = None,
    same_case: Annotated[
        bool, typer.Option("--same-case", help="With --image-to-image: images of one case may find each other.")
    ] = False,
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", "-l", metavar="A,B,…", help="The classes of --classify.", show_default=False),
    ] = None,
    labels_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="The classes with their prompts and aliases; or modality, body_part, plane, which come with roco.",
            show_default=False,
        ),
    ] = None,
    ignore_other_truth: Annotated[
        bool, typer.Option("--ignore-other-truth", help="Leave out images that belong to none of the classes.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with plots and examples.", show_default=False),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="With --classify: draw the confusion matrix.", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    precision: Annotated[
        str,
        typer.Option(metavar="auto|fast|fp32|bf16|fp16", help="The arithmetic; fast is the one that roco query uses."),
    ] = "auto",
    seed: Annotated[int, typer.Option(metavar="N", help="The seed of the bootstrap.")] = 0,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on images with captions: recall, ranks and their intervals, in both directions.

    Each query is ranked among all images or captions; identical captions are counted in two ways. A protocol adds the
    figures that others publish, under their real names. With --classify the model instead classifies the images by the
    values of a column, and with --image-to-image it finds images by images; with a protocol too, it does both. Neither
    needs captions: a folder of folders will do, whose names are the column "folder". --json prints one object, or a
    list if there are several tasks. The exit code is 3 if some images could not be read.

    Example: `roco eval ./pairs --model roco-mini`
    """
    checked = checked_device(device)
    arithmetic = checked_precision(precision)
    protocols = checked_protocols(protocol or [])
    check_usage(classify or [], labels or [], labels_file, ignore_other_truth, confusion)
    if same_case and not image_to_image:
        refuse("--same-case needs --image-to-image LABEL; add that.")
    captions = bool(protocols) or not (classify or image_to_image)
    process.prepare()

    with Waiting("Reading the data", quiet=quiet) as waiting:
        from roco_search.datasets import open_pairs
        from roco_search.evaluation.report import check_places
        from roco_search.evaluation.run import evaluate, plan_evaluation
        from roco_search.models import load_encoder

        check_places(report, confusion)
        conditions = [*(where or []), *(f"licence={code}" for code in licence or [])]
        pairs = open_pairs(data, split, licences=licence or (), where=where or (), need_captions=captions)
        tasks = plan_evaluation(
            pairs,
            data,
            protocols=protocols,
            by=by,
            classify=classify or (),
            image_to_image=image_to_image or (),
            same_case=same_case,
            labels=labels or (),
            labels_file=labels_file,
            ignore_other=ignore_other_truth,
            seed=seed,
        )
        waiting.now("Loading the model" if against is None else "Loading both models")
        names = [model, against] if against is not None else [model]
        encoders = [load_encoder(name, checked, arithmetic) for name in names]
    bar = ProgressBar("Reading and embedding", quiet)
    found = evaluate(pairs, encoders, tasks, conditions=conditions, progress=bar)
    if not quiet:
        tell_left_out(found)
    if json:
        from roco_search.evaluation.result import as_json

        objects = as_json(found)
        print_json(objects[0] if len(objects) == 1 else objects)
    else:
        show(found)
    write(found, report, confusion)
    if found.embedded[0].unreadable:
        raise typer.Exit(PARTIAL)


def checked_precision(precision: str) -> Precision:
    """Read ``--precision``."""
    one_of("--precision", precision, get_args(Precision))
    return cast("Precision", precision)


def checked_protocols(protocols: list[str]) -> list[Protocol]:
    """Read ``--protocol``."""
    for protocol in protocols:
        one_of("--protocol", protocol, PROTOCOLS)
    return cast("list[Protocol]", protocols)


def check_usage(
    classify: list[str], labels: list[str], labels_file: str | None, ignore_other: bool, confusion: Path | None
) -> None:
    """Refuse options that do not go together."""
    if (labels or labels_file or ignore_other) and not classify:
        refuse("--labels, --labels-file and --ignore-other-truth need --classify COLUMN; add that.")
    if (labels or labels_file) and len(classify) > 1:
        refuse("--labels and --labels-file apply to one column; measure the columns one by one.")
    if confusion is not None and len(classify) != 1:
        refuse("--confusion draws one column; give --classify COLUMN once.")


def write(found: Evaluation, report: Path | None, confusion: Path | None) -> None:
    """Write the page and the picture that were asked for."""
    if confusion is not None:
        from roco_search.evaluation.plots import draw_confusion
        from roco_search.figures import write_png

        write_png(confusion, draw_confusion(found.classifications[0]))
        say(f"Confusion matrix: {short_path(confusion)}")
    if report is not None:
        from roco_search.evaluation.report import write_report

        write_report(report, found)
        say(f"Report: {short_path(report)} (it contains some of the images: protect it as you protect the scans)")
