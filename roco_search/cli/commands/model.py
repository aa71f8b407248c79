"""``roco model``: list encoders, download or import them, and choose the default for new libraries."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from roco_search.cli.options import JsonOption, LibraryOption, QuietOption, catalogue_models, installed_models
from roco_search.cli.output import print_json, print_rows, say, short_path
from roco_search.cli.progress import ProgressBar
from roco_search.cli.terminal import Waiting
from roco_search.system.text import size

model_app = typer.Typer(
    name="model",
    help="Manage models: list, advise, pull, use, info, remove, export, import.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

NameOrFolder = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR", help="A model on this disk.", show_default=False, autocompletion=installed_models
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what exists.")]


@model_app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="The baselines for everyday pictures too.")] = False,
    json: JsonOption = False,
) -> None:
    """List the catalogue and every other model on this disk.

    Licence, size, input and dimensions of a model on this disk are read from its files; what it is good at is its
    publisher's statement.

    Example: `roco model list`
    """
    from roco_search.cli.render.models import row
    from roco_search.models.catalogue.overview import list_models
    from roco_search.models.catalogue.registry import default

    with Waiting("Reading the models on this disk"):
        models = list_models()
    if json:
        print_json(models)
        return
    shown = [model for model in models if every or model.on_disk or not model.baseline]
    print_rows(
        ("", "name", "here", "licence", "size", "pixels", "text", "good at"),
        [row(model) for model in shown],
        right=("size", "pixels", "text"),
    )
    starred = any(model.default for model in models)
    say("* default model for new libraries" if starred else f"The default model for new libraries is {default()}.")
    if hidden := len(models) - len(shown):
        say(f"{hidden} models for everyday pictures are not shown; add --all.")
    meanings = {
        "gated": "gated: its terms must be accepted on its page before it can be pulled.",
        "by hand": "by hand: it cannot be pulled; 'roco model info NAME' says where it is.",
    }
    for word in sorted({row(model)[2] for model in shown} & set(meanings)):
        say(meanings[word])
    say("–: not known, or not stated.")
    say("What is said of a model that is not roco's is its publisher's statement, and was not verified.")


@model_app.command("advise")
def advise(
    library: LibraryOption = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only models with this licence, such as MIT; repeatable.", show_default=False
        ),
    ] = None,
    commercial: Annotated[
        bool, typer.Option("--commercial", help="Only models whose licence is known to allow commercial use.")
    ] = False,
    hours: Annotated[
        float, typer.Option(metavar="N", help="The most that embedding the library again may take.")
    ] = 24.0,
    json: JsonOption = False,
) -> None:
    """Advise which model to take for the library: why, what it costs on this machine, and the command.

    It compares what is published of the catalogue's models, their licences, the modalities that the library holds, and
    the time that embedding it again takes: measured for models of which this machine has embedded images, estimated for
    others. It uses no network, and changes nothing.

    Example: `roco model advise --commercial`
    """
    from roco_search.cli.render.models import show_advice
    from roco_search.errors import LibraryNotFound
    from roco_search.library import Library, default_library_path
    from roco_search.models.catalogue.advice import Wanted, advise

    wanted = Wanted(tuple(licence or ()), commercial, hours)
    place, status = library or default_library_path(), None
    with suppress(LibraryNotFound), Library.open(place) as opened:
        status = opened.status()
    with Waiting("Looking at the models and this machine"):
        if status is None or not status.frames:
            found = advise(1_000, {}, None, wanted)
        else:
            model = status.model.model if status.model else None
            named = str(library) if library is not None else None
            found = advise(status.frames, status.modalities, model, wanted, library=named)
    if json:
        print_json(found)
    else:
        show_advice(found, short_path(place))


@model_app.command("pull")
def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A model of the catalogue, or org/name on the hub.",
            show_default=False,
            autocompletion=catalogue_models,
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Branch, tag, commit or refs/pr/N [default: main].", show_default=False),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Download a model from the Hugging Face hub.

    Nothing else uses the network, except a data set that you name by its id and --push.

    It downloads weights, configuration, tokenizer, card and licence, never code. A model that was published for
    open_clip, or as a pickle, is converted, in a process that can only read it; the pickle is not kept. The commit is
    recorded, and the model stays at it until --revision names another. Run the same command again to resume an
    interrupted download.

    Example: `roco model pull clip-roco`
    """
    from roco_search.models.catalogue import pull as hub

    if not (quiet or sys.stderr.isatty()):
        say(f"Downloading {name} …")
    with Waiting("Asking the hub", quiet=quiet):
        pulled = hub.pull(name, revision, progress=ProgressBar(f"Fetching {name}", quiet, counts_bytes=True))
    if json:
        print_json(pulled)
    elif not quiet:
        how = "is already on this disk, at" if pulled.already else f"is complete ({size(pulled.bytes)}), at"
        say(
            f"{pulled.name} {how} commit {pulled.revision[:12]}. Licence: {pulled.licence or 'none stated'}. "
            f"'roco model use {pulled.name}' makes it the default for new libraries."
        )
    from roco_search.models.catalogue.registry import find
    from roco_search.models.compiling.compiler import prepare

    with Waiting("Preparing the model", quiet=quiet):
        prepare(find(pulled.name), (lambda _: None) if quiet else say)


@model_app.command("use")
def use(name: NameOrFolder) -> None:
    """Set the default model for new libraries. Existing libraries keep their own.

    The environment variable ROCO_MODEL takes precedence over this setting.

    Example: `roco model use roco-mini`
    """
    from roco_search.models.catalogue import registry

    chosen = registry.use(name)
    say(
        f"{chosen} is now the default for new libraries. To change an existing library, run "
        f"'roco index --reembed --model {chosen}'."
    )
    if (now := registry.default()) != chosen:
        say(f"Note: ROCO_MODEL is set to {now} and takes precedence.")


@model_app.command("info")
def info(name: NameOrFolder, json: JsonOption = False) -> None:
    """Show the facts in a model's files: its kind, size, temperature, fingerprint, licence and origin.

    Of a model of the catalogue that is not on this disk, it shows what is published, and exits with 1.

    Example: `roco model info roco-mini`
    """
    from roco_search.cli.render.models import show, show_entry
    from roco_search.errors import ModelNotFound
    from roco_search.models.catalogue.overview import describe
    from roco_search.models.catalogue.registry import canonical, entries

    try:
        with Waiting("Reading the model"):
            facts = describe(name)
    except ModelNotFound:
        if entry := entries().get(canonical(name)):
            print_json({**asdict(entry), "on_disk": None}) if json else show_entry(entry)
        raise
    if json:
        print_json(facts)
    else:
        show(facts)


@model_app.command("remove")
def remove(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A pulled or imported model.", show_default=False, autocompletion=installed_models
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even if it is the default for new libraries.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete a pulled or imported model, and what an unfinished pull of it has left.

    The Hugging Face cache, which other programs share, is never touched.

    Example: `roco model remove roco-mini-copy`
    """
    from roco_search.models.catalogue.removal import remove_model

    removed = remove_model(name, force=force)
    if json:
        print_json(removed)
        return
    say(f"{removed.name} was removed; {size(removed.bytes)} were freed.")
    if removed.was_default:
        say("roco-mini is the default again.")


@model_app.command("export")
def export(
    name: NameOrFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    force: Force = False,
    json: JsonOption = False,
) -> None:
    """Write a model into one file, to carry it to a machine without a network.

    Compare the printed fingerprint with the one that `roco model import` prints there.

    Example: `roco model export roco-mini ./roco-mini.zip`
    """
    from roco_search.models.catalogue.archive import export_model

    with Waiting("Writing the file"):
        exported = export_model(name, file, force=force)
    if json:
        print_json(exported)
    else:
        say(f"{exported.name} is in {short_path(file)} ({size(exported.bytes)}), fingerprint {exported.fingerprint}.")


@model_app.command("import")
def import_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="What 'roco model export' wrote, a checkpoint's folder, or weights.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its name here [default: the same name].", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR", help="The model whose tokenizer it takes, if it has none.", show_default=False
        ),
    ] = None,
    force: Force = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Import a model from a file that `roco model export` wrote, or convert one that was published for open_clip.

    Of an archive every byte is verified first. A folder with open_clip_config.json, or a state dict of OpenAI's CLIP,
    is converted to transformers' layout. A pickle is read once, in a process that can only read it, and not kept. What
    is damaged, dangerous or unknown leaves nothing behind.

    Example: `roco model import ./roco-mini.zip --name roco-mini-copy`
    """
    from roco_search.models.catalogue.local import import_any

    converts = path.is_dir() or path.suffix != ".zip"
    with Waiting("Converting the model" if converts else "Verifying the file", quiet=quiet):
        imported = import_any(path, name, force=force, tokenizer=tokenizer)
    if json:
        print_json(imported)
    elif not quiet:
        how = "is already on this disk" if imported.already else f"was imported ({size(imported.bytes)})"
        say(f"{imported.name} {how}, fingerprint {imported.fingerprint}.")
