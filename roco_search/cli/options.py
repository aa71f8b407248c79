"""Options for the fields of a settings dataclass: what is not given is left to a preset or the default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

Table = Mapping[str, tuple[str, str]]
"""By the name of a field: its metavar ("on/off" for a switch), and what it does."""


def with_settings(settings: type, table: Table) -> Callable[[Callable[..., None]], Callable[..., None]]:
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
        told = f"{text} [default: {'on' if default else 'off'}]"
        spelled = name.replace("_", "-")
        return Annotated[bool | None, typer.Option(f"--{spelled}/--no-{spelled}", help=told, show_default=False)]
    plain = str if kind not in (int, float) else kind  # a choice among words is checked with the others
    shown = f"{default:g}" if isinstance(default, float) else default
    told = f"{text} [default: {shown}]"
    return Annotated[plain | None, typer.Option(metavar=metavar, help=told, show_default=False)]
