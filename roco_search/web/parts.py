"""Gradio's components as all tabs use them."""

from __future__ import annotations

from typing import Any

import gradio as gr


def html(value: str, **options: Any) -> gr.HTML:
    """Return a place for markup of ours, which brings its own style."""
    return gr.HTML(value, apply_default_css=False, **options)
