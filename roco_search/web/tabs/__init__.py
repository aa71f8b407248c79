"""The three tabs of the demo, one file each, and what they share: our HTML as components, errors shown in place."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import gradio as gr

from roco_search.errors import RocoError
from roco_search.web import markup

logger = logging.getLogger("roco")
Rest = ParamSpec("Rest")
Changes = dict[Any, Any]
"""What a handler changes in the page, by component; every other component stays as it is."""


class OneLine:
    """What Gradio finds in place of the module `traceback`: a value that no page sends is worth a line, not fifty.

    Of an error only the type is shown, as in `report_errors`.
    """

    @staticmethod
    def print_exc(*_: object, **__: object) -> None:
        """Log the type of the error that is being handled."""
        kind = sys.exc_info()[0]
        logger.warning("The demo refused a request that no page sends (%s).", kind.__name__ if kind else "unknown")


def html(value: str, *, js_on_load: str | None = None, **options: Any) -> gr.HTML:
    """Return a component for our own HTML, without Gradio's style; `js_on_load` runs once our scripts are there."""
    if js_on_load:
        js_on_load = f"(function go() {{ window.roco?.ready ? ({js_on_load}) : setTimeout(go, 5); }})();"
    return gr.HTML(value, apply_default_css=False, js_on_load=js_on_load, **options)


def report_errors(handler: Callable[Concatenate[Any, Rest], Changes]) -> Callable[Concatenate[Any, Rest], Changes]:
    """Show the errors of a tab's handler in the tab's `status`, and change nothing else.

    Of an error that roco does not foresee only the type is shown: a library's own message may quote a file's header.
    """

    @wraps(handler)
    def reporting(tab: Any, *arguments: Rest.args, **named: Rest.kwargs) -> Changes:
        try:
            # Gradio takes an empty dictionary for the value of the first component.
            return handler(tab, *arguments, **named) or {tab.status: gr.skip()}
        except RocoError as error:
            return {tab.status: markup.note(str(error), error=True)}
        except Exception as error:
            kind = type(error).__name__
            logger.error("The demo met an unexpected %s in %s.", kind, handler.__name__)
            return {tab.status: markup.note(f"roco met an unexpected {kind}; try again.", error=True)}

    return cast("Callable[Concatenate[Any, Rest], Changes]", reporting)
