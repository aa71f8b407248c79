"""What Gradio remembers of each page that is or was open.

For each it keeps the configuration of every part of the page, and the value that each part had last, so that somebody
can be sent the page as it is (its "deep links"). The demo keeps what a page shows in its address, and has no such
links: that was 0.1 MiB for each of the `PAGES` that are remembered, and all that was found in them besides.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr

PAGES = 200  # of which Gradio keeps the state, the latest used; it keeps those that were closed, too


class _Nothing(dict[int, dict[str, Any]]):
    """Takes everything, and keeps nothing of it."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}

    def __setitem__(self, key: int, value: dict[str, Any]) -> None:
        pass


class _Pages(OrderedDict[str, Any]):
    """The states of pages, by session, without what deep links need."""

    def __setitem__(self, session: str, state: Any) -> None:
        state.config_values = _Nothing()
        super().__setitem__(session, state)


def remember_little(blocks: gr.Blocks) -> None:
    """Let Gradio keep little of each page of a mounted demo, and that of the last `PAGES` alone."""
    holder: Any = blocks.state_holder
    holder.capacity, holder.session_data = PAGES, _Pages()
