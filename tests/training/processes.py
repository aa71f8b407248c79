"""Processes of a test, forked from one that has torch and transformers loaded already, so that each starts at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

_LOADED = ["roco_search.training.session", "transformers.models.auto.modeling_auto", "tests.models.checkpoints"]


def start(target: Callable[..., None], *arguments: Any, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """Call a function in a new process, which has these variables besides those of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    process = context.Process(target=_call, args=(target, arguments, {**os.environ, **(environment or {})}))
    process.start()
    return process


def _call(target: Callable[..., None], arguments: Sequence[Any], environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    target(*arguments)
