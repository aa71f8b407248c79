"""Gradio's components as all tabs use them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import gradio as gr

from roco_search.errors import RocoError
from roco_search.web import markup


def html(value: str, **options: Any) -> gr.HTML:
    """Return a place for markup of ours, which brings its own style."""
    return gr.HTML(value, apply_default_css=False, **options)


logger = logging.getLogger("roco")
Rest = ParamSpec("Rest")
Changes = dict[Any, Any]
"""What a handler changes in the page, by component; every other component stays as it is."""


def told(handler: Callable[Concatenate[Any, Rest], Changes]) -> Callable[Concatenate[Any, Rest], Changes]:
    """Let what a tab's handler refuses be told in the tab's `status`, and nothing else change.

    What is not foreseen is told by its type alone: a library's own message may quote a file's header.
    """

    @wraps(handler)
    def telling(tab: Any, *arguments: Rest.args, **named: Rest.kwargs) -> Changes:
        try:
            return handler(tab, *arguments, **named)
        except RocoError as error:
            return {tab.status: markup.note(str(error), error=True)}
        except Exception as error:
            kind = type(error).__name__
            logger.error("The demo met a %s in %s that it did not expect.", kind, handler.__name__)
            return {tab.status: markup.note(f"roco met a {kind} that it did not expect; try again.", error=True)}

    return cast("Callable[Concatenate[Any, Rest], Changes]", telling)
