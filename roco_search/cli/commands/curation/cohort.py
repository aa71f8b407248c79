"""``roco cohort``: named sets of images that can be brought up to date, compared and exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from roco_search.cli.options import (
    DeviceOption,
    GuessOption,
    JsonOption,
    LibraryOption,
    QuietOption,
    body_parts,
    checked_device,
    modalities,
    one_of,
    views,
)
from roco_search.cli.output import moment, print_facts, print_json, print_line, print_rows, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.render.cohorts import as_text, entry_of, facts_of, given, given_words, show_changes, table
from roco_search.cli.terminal import Waiting
from roco_search.system import process

if TYPE_CHECKING:
    from roco_search.cli.tables import Cell
    from roco_search.library import Library
    from roco_search.models import Encoder

app = typer.Typer(no_args_is_help=True, help="Keep named sets of images: save, refresh, compare, export.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The cohort.", show_default=False)]


@app.command()
def save(
    name: Name,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="What to look for.", show_default=False)
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM", help="Only this modality. Repeatable.", autocompletion=modalities),
    ] = None,
    body_part: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM", help="Only this body part. Repeatable.", autocompletion=body_parts),
    ] = None,
    view: Annotated[
        list[str] | None, typer.Option(metavar="TERM", help="Only this view. Repeatable.", autocompletion=views)
    ] = None,
    under: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Only this folder or file. Repeatable.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only paths that match this pattern. Repeatable.")
    ] = None,
    text_match: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Only images with these words in their caption.", show_default=False),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL>X",
            help="Only images to which a probe gives such a probability: 'effusion>0.8'. Repeatable.",
            show_default=False,
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only what was marked yes with 'query --mark'.", show_default=False),
    ] = None,
    guess: GuessOption = False,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="weak|fair|strong",
            help="The least match with the text [default: fair, if no other limit is given].",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=-1, max=1, metavar="X", help="The minimum score.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most N images, the best first.", show_default=False)
    ] = None,
    group_by: Annotated[
        str, typer.Option(metavar="series|study|file|none", help="One image of each; none for every image.")
    ] = "none",
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace a cohort of this name.")] = False,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Save what a text, filters, probes and marks find as a cohort.

    Example: `roco cohort save head "head CT" --modality CT --limit 100`
    """
    from roco_search.curation.cohorts.cohort import Definition, gather
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path
    from roco_search.library.directory import real_path
    from roco_search.search import GroupBy

    one_of("--group-by", group_by, get_args(GroupBy))
    SHELF.check_name(name)
    definition = Definition(
        query=" ".join(text) if text else None,
        modality=tuple(modality or ()),
        body_part=tuple(body_part or ()),
        view=tuple(view or ()),
        under=tuple(map(real_path, under or ())),
        path=tuple(path or ()),
        text_match=text_match,
        where=tuple(where or ()),
        session=session,
        guess=guess,
        match=match,
        min_score=min_score,
        limit=limit,
        group_by=cast("GroupBy", group_by),
    )
    with Waiting("Searching"), Library.open(library or default_library_path()) as opened:
        made = gather(opened, name, definition, _encoder(opened, definition.needs_model, device))
        SHELF.keep(opened, made, overwrite=overwrite)
    if json:
        print_json(facts_of(made))
    else:
        say(f"The cohort {name} has {len(made.members):,} images; `roco cohort show {name}` lists them.")


@app.command()
def refresh(name: Name, device: DeviceOption = "auto", library: LibraryOption = None, json: JsonOption = False) -> None:
    """Bring a cohort up to date with the library, and print what came and what went.

    Example: `roco cohort refresh head`
    """
    from roco_search.curation.cohorts.cohort import gather_again
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path

    with Waiting("Searching"), Library.open(library or default_library_path()) as opened:
        before = SHELF.read(opened, name)
        now, changes = gather_again(opened, before, _encoder(opened, before.definition.needs_model, device))
        SHELF.keep(opened, now, overwrite=True)
    if before.fingerprint != now.fingerprint:
        say("Note: the library has another model than when the cohort was saved; scores do not compare.")
    show_changes(changes, json=json, came="added", went="removed", stayed="unchanged")


@app.command()
def diff(
    name: Name,
    other: Annotated[
        str | None,
        typer.Argument(metavar="[OTHER]", help="Another cohort [default: the library now].", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    json: JsonOption = False,
) -> None:
    """Print what a cohort would gain and lose now, or what another cohort has and lacks. Nothing is changed.

    Example: `roco cohort diff head`
    """
    from roco_search.curation.cohorts.cohort import compare, gather_again
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path

    with Waiting("Comparing"), Library.open(library or default_library_path()) as opened:
        one = SHELF.read(opened, name)
        if other is not None:
            changes = compare(opened, one, SHELF.read(opened, other))
        else:
            _, changes = gather_again(opened, one, _encoder(opened, one.definition.needs_model, device))
    if other is None:
        show_changes(changes, json=json, came="would be added", went="would be removed", stayed="would stay")
    else:
        show_changes(changes, json=json, came=f"only {other}", went=f"only {name}")


@app.command()
def show(name: Name, library: LibraryOption = None, json: JsonOption = False) -> None:
    """Print what a cohort is made of, and its images.

    Example: `roco cohort show head`
    """
    from roco_search.curation.cohorts.cohort import members_of
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path

    with Library.open(library or default_library_path()) as opened:
        found = SHELF.read(opened, name)
        listed = members_of(opened, found)
    if json:
        print_json({**facts_of(found), "members": [entry_of(entry) for entry in listed]})
        return
    facts: list[tuple[str, Cell]] = [("cohort", name), ("images", f"{len(found.members):,}")]
    if found.understood:
        facts.append(("understood", found.understood))
    facts += [(key.replace("_", " "), as_text(value)) for key, value in given(found).items()]
    facts += [("model", Path(found.model).name), ("saved", moment(found.created))]
    facts.append(("up to date as of", moment(found.refreshed)))
    print_facts(facts)
    print_line()
    table(listed)
    if gone := len(found.members) - len(listed):
        say(f"Note: {gone:,} of its images are no longer in the library; `roco cohort refresh {name}` drops them.")


@app.command("list")
def list_(library: LibraryOption = None, json: JsonOption = False) -> None:
    """List the cohorts of a library.

    Example: `roco cohort list`
    """
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path

    with Library.open(library or default_library_path()) as opened:
        found = SHELF.read_all(opened)
    if json:
        print_json([facts_of(cohort) for cohort in found])
    elif found:
        rows = [
            (
                cohort.name,
                f"{len(cohort.members):,}",
                cohort.refreshed[:10],
                cohort.definition.query or given_words(cohort),
            )
            for cohort in found
        ]
        print_rows(("cohort", "images", "as of", "query"), rows, right=("images",))
    else:
        say("This library has no cohort yet; make one with `roco cohort save`.")


@app.command()
def remove(name: Name, library: LibraryOption = None) -> None:
    """Forget a cohort. Its images stay in the library.

    Example: `roco cohort remove head`
    """
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path

    with Library.open(library or default_library_path()) as opened:
        SHELF.remove(opened, name)
    say(f"The cohort {name} is forgotten; its images are still in the library.")


@app.command()
def export(
    name: Name,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.", show_default=False)
    ],
    layout: Annotated[
        str, typer.Option(metavar="imagefolder|datasets|csv|coco", help="How the folder looks.")
    ] = "imagefolder",
    form: Annotated[
        str,
        typer.Option("--format", metavar="png|files", help="Rendered PNGs, or the files as they are."),
    ] = "png",
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="DICOM copies that name nobody, in place of PNGs; no captions.")
    ] = False,
    find_text: Annotated[
        bool, typer.Option("--find-text", help="Look for text in the pixels, and list what is found (extra ocr).")
    ] = False,
    mask_text: Annotated[
        bool, typer.Option("--mask-text", help="Also mask that text, in PNGs and in de-identified copies.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The label of every image [default: the cohort's name].", show_default=False),
    ] = None,
    validation: Annotated[float, typer.Option(min=0, max=1, metavar="SHARE", help="The validation split.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, metavar="SHARE", help="The test split.")] = 0.1,
    seed: Annotated[int, typer.Option(metavar="N", help="Which cases the splits get.")] = 0,
    library: LibraryOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a cohort to a new folder: images, labels, splits by case, and a manifest.

    Example: `roco cohort export head ./head-cohort --layout csv`
    """
    from roco_search.curation.cohorts.export import Options, checked_form, export_cohort
    from roco_search.curation.cohorts.layouts import checked_layout
    from roco_search.curation.cohorts.shelf import SHELF
    from roco_search.library import Library, default_library_path

    options = Options(
        layout=checked_layout(layout),
        form=checked_form(form),
        deidentify=deidentify,
        validation=validation,
        test=test,
        seed=seed,
        find_text=find_text,
        mask_text=mask_text,
        label=label,
    )
    with Library.open(library or default_library_path()) as opened:
        found = SHELF.read(opened, name)
        done = export_cohort(opened, found, folder, options, ProgressBar("Exporting", quiet))
    if done.gone:
        say(f"Note: {done.gone:,} images are no longer in the library and were left out.")
    if done.text_found is not None:
        masked = " and masked" if mask_text else ""
        say(
            f"Text was found{masked} in {done.text_found:,} images; the detector overlooks some, so have somebody look."
        )
    if done.burned_in:
        say(
            f"Note: {len(done.burned_in):,} images may carry text in their pixels, which can name a patient; "
            "manifest.json lists them. Look at them before you pass them on."
        )
    if json:
        print_json(done)
        return
    splits = ", ".join(f"{split} {count:,}" for split, count in done.splits.items())
    say(f"{short_path(folder)} has {done.images:,} images of {done.cases:,} cases ({splits}).")


def _encoder(library: Library, needed: bool, device: str) -> Encoder | None:
    checked = checked_device(device)
    if not needed:
        return None
    from roco_search.models import load_encoder

    process.prepare()
    return load_encoder(library.active().model, checked, "fast")
