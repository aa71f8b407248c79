"""The demo's colours and fonts, as Gradio takes them; `assets/roco.css` has those of our own parts."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """Return Gradio's plainest theme in Okabe and Ito's blue, as in roco's figures.

    Its fonts are the system's, so that none is downloaded. Quiet text has a contrast of 4.5 to 1 at least (WCAG 2.2,
    1.4.3), which Gradio's own has not.
    """
    blue = gr.themes.Color(
        "#eaf4fb", "#d3e9f7", "#a6d3ef", "#79bde6", "#56b4e9", "#0072b2", "#00659e", "#005789", "#004a75", "#003d61",
        "#00304d",
    )  # fmt: skip
    base = gr.themes.Base(primary_hue=blue, font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return base.set(
        button_primary_background_fill="#0072b2",
        button_primary_background_fill_hover="#00659e",
        body_text_color_subdued="#5f6670",
        body_text_color_subdued_dark="#a5acb5",
        input_placeholder_color="#5f6670",
        input_placeholder_color_dark="#a5acb5",
    )
