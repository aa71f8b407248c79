"""The options that commands share, what reads their values, and what the shell offers for them.

What the shell offers is imported when it asks, and nothing heavy then.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args, get_type_hints

import typer

from roco_search.cli.usage import refuse
from roco_search.models import Device
from roco_search.system.folders import library_place
from roco_search.system.progress import show_unasked

if TYPE_CHECKING:
    from roco_search.imaging import FrameChoice


Offer = list[tuple[str, str]]
"""Values, each with what the shell may print beside it."""


def modalities(incomplete: str) -> Offer:
    """Offer what ``--modality`` takes: DICOM's codes of pictures, and the words for them."""
    from roco_search.vocabulary import image_classes

    classes = image_classes("modality")
    codes = [(term, entry.name) for entry in classes for term in entry.terms]
    return _starting(incomplete, [*codes, *((entry.name, "") for entry in classes if entry.terms)])


def body_parts(incomplete: str) -> Offer:
    """Offer what ``--body-part`` takes most often; every term of DICOM PS3.16 Annex L is taken."""
    from roco_search.vocabulary import image_classes

    terms = {term.lower() for entry in image_classes("body_part") for term in entry.terms}
    return _starting(incomplete, [(term, "") for term in sorted(terms)])


def views(incomplete: str) -> Offer:
    """Offer what ``--view`` takes most often."""
    return _starting(incomplete, [(view, "") for view in ("AP", "PA", "lateral", "frontal", "oblique", "CC", "MLO")])


def groupings(incomplete: str) -> Offer:
    """Offer what ``--group-by`` takes."""
    return _starting(incomplete, [(name, f"one hit a {name}") for name in ("series", "study", "file")] + [("none", "")])


def devices(incomplete: str) -> Offer:
    """Offer what ``--device`` takes."""
    return _starting(incomplete, [(name, "") for name in ("auto", "cpu", "cuda", "mps")])


def installed_models(incomplete: str) -> Offer:
    """Offer the models on this disk."""
    from roco_search.models.catalogue.installed import installed_names
    from roco_search.models.catalogue.registry import DEFAULT, entries

    names = dict.fromkeys([DEFAULT, *installed_names()])
    return _starting(incomplete, [(name, entries()[name].good_at if name in entries() else "") for name in names])


def catalogue_models(incomplete: str) -> Offer:
    """Offer the models that can be pulled."""
    from roco_search.models.catalogue.registry import entries

    return _starting(incomplete, [(entry.name, entry.good_at) for entry in entries().values() if entry.repository])


def _starting(incomplete: str, offers: Offer) -> Offer:
    """Keep the values that begin with what was typed, in either case, and write them in the case of what was typed."""
    typed = incomplete.lower()
    fitting = [(value, about) for value, about in offers if value.lower().startswith(typed)]
    return [(incomplete + value[len(incomplete) :], about) for value, about in fitting]


def _located(library: Path | None) -> Path | None:
    """Return the folder of what was named: of a shared library, that of this user's copy."""
    return None if library is None else Path(library_place(os.fspath(library)))


LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library",
        envvar="ROCO_LIBRARY",
        metavar="DIR|ADDRESS",
        help="The library's folder, or a shared one's address, lance+file:///… or lance+s3://… [default: the one in "
        "your data directory].",
        show_default=False,
        callback=_located,
    ),
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="The device that the model runs on.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|DIR",
        help="The model [default: the one of 'roco model use'].",
        show_default=False,
        autocompletion=installed_models,
    ),
]
UnderOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Only the images in this folder.", show_default=False)
]
GuessOption = Annotated[
    bool, typer.Option("--guess", help="Let the model guess modality and body part where a header does not state them.")
]
RedactPathsOption = Annotated[
    bool, typer.Option("--redact-paths", help="Leave out file names, which may name patients.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JsonlOption = Annotated[bool, typer.Option("--jsonl", help="Print JSON Lines: one object per line.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with a header line.")]
PathsOption = Annotated[bool, typer.Option("--paths", help="Print paths only, one per line.")]
Print0Option = Annotated[bool, typer.Option("--print0", "-0", help="Print paths only, each followed by a NUL byte.")]


def _obeyed(quiet: bool) -> bool:
    """Be quiet about work that was not asked for too, such as pulling a shared library."""
    if quiet:
        show_unasked(None)
    return quiet


QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_obeyed, help="Print no progress bar, notes or summary.")
]

LOCAL = "local"
"""Marks an option that needs what only the asker's own process has: its standard input, viewer or terminal. A query
with such an option is never answered by `roco serve`."""


def one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the choices."""
    if value not in choices:
        refuse(f"{option}: {value!r} is not one of {', '.join(choices)}.")


def checked_device(device: str) -> Device:
    """Read ``--device``."""
    one_of("--device", device, get_args(Device))
    return cast("Device", device)


def frame_choice(text: str | None) -> FrameChoice | None:
    """Read ``--frames``."""
    match text:
        case None | "middle" | "all":
            return text
    if not text.isdecimal() or int(text) == 0:
        refuse(f"--frames: {text!r} is neither middle, all, nor a number of frames.")
    return int(text)


def one_format(**asked: bool) -> str:
    """Return the one output format that was asked for, by the name of its option; "table" where none was."""
    chosen = [name for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        options = [f"--{name}" for name in chosen]
        refuse(f"{' and '.join(options)} are different output formats; choose one of them.")
    return chosen[0] if chosen else "table"


def in_panels(panels: Mapping[str, tuple[str, ...]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Divide the options of a command among titled panels of its help; those that are not listed come last."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command.panels = {name: title for title, names in panels.items() for name in names}  # type: ignore[attr-defined]
        return command

    return decorate


SettingsTable = Mapping[str, tuple[str, str]]
"""By the name of a field: its metavar ("on/off" for a switch), and what it does."""


def with_settings(settings: type, table: SettingsTable) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of ``settings``; it gets those that were given as ``given``."""
    kinds = get_type_hints(settings)
    defaults = {entry.name: entry.default for entry in fields(settings)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=_option(name, kinds[name], defaults[name], *table[name]),
            )
            for name in defaults
        ]

        @wraps(command)
        def wrapper(**values: Any) -> None:
            given = {name: value for name in defaults if (value := values.pop(name)) is not None}
            command(**values, given=given)

        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            if name != "given"
        ]
        # Typer reads the signature and the annotations, each for itself.
        wrapper.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options)}
        return wrapper

    return decorate


def _option(name: str, kind: Any, default: Any, metavar: str, text: str) -> Any:
    if kind is bool:
        about = f"{text} [default: {'on' if default else 'off'}]"
        spelled = name.replace("_", "-")
        return Annotated[bool | None, typer.Option(f"--{spelled}/--no-{spelled}", help=about, show_default=False)]
    plain = str if kind not in (int, float) else kind  # a choice among words is checked with the others
    shown = f"{default:g}" if isinstance(default, float) else default
    about = f"{text} [default: {shown}]"
    return Annotated[plain | None, typer.Option(metavar=metavar, help=about, show_default=False)]
