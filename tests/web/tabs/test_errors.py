"""What goes wrong in a handler is shown in the tab, and nothing else of the page changes."""

from __future__ import annotations

import json
import logging

import gradio as gr
import pytest

from roco_search.errors import InputError
from roco_search.web.tabs import Changes, report_errors
from tests.web.conftest import Site


class Tab:
    status = "status"

    @report_errors
    def change_nothing(self) -> Changes:
        return {}

    @report_errors
    def fail(self, error: Exception) -> Changes:
        raise error


def test_a_refusal_is_shown_as_it_is_worded() -> None:
    (shown,) = Tab().fail(InputError("Write <what> to look for.")).items()
    assert shown[0] == "status" and "Write &lt;what&gt; to look for." in shown[1] and 'role="alert"' in shown[1]


def test_of_an_unexpected_error_only_the_type_is_shown_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "roco"):
        changes = Tab().fail(ValueError("PatientName is Doe^Jane"))
    assert list(changes) == ["status"] and "ValueError" in changes["status"]
    assert "ValueError in fail" in caplog.text and "Doe" not in caplog.text + changes["status"]


def test_a_handler_that_changes_nothing_gives_gradio_something_to_skip() -> None:
    assert Tab().change_nothing() == {"status": gr.skip()}


def test_a_value_that_no_page_sends_is_a_line_and_no_traceback(
    site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    config = site.ask("/config").json
    (mode,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "roco-mode"]
    event = next(one for one in config["dependencies"] if mode in one["inputs"] and [mode, "input"] in one["targets"])
    data = [["CT", "MR"] if number != mode else ["no such mode"] for number in event["inputs"]]
    message = {"data": data, "fn_index": event["id"], "session_hash": site.session}
    site.ask("/gradio_api/queue/join", "POST", json.dumps(message), Content_Type="application/json")
    answer = site.ask(f"/gradio_api/queue/data?session_hash={site.session}").body
    assert b'"success":false' in answer.replace(b" ", b"") and b"no such mode" not in capfd.readouterr().err.encode()
    assert "The demo refused a request that no page sends (Error)" in caplog.text
