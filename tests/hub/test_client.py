"""Nobody but this room speaks to the network, and whatever the hub refuses is one sentence that gives nothing away."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

import roco_search
from roco_search.errors import HubError, ModelNotFound, StorageFull
from roco_search.hub.client import Kind, Request, connect, is_repository, refusal, refusals, transport_error

SECRET = "hf_token_of_somebody"
CLIENTS = {"huggingface_hub", "httpx", "requests", "urllib3", "aiohttp", "http"}


def http_error(kind: type[Exception], status: int) -> Exception:
    """What the hub's client raises for an answer of this status."""
    http = __import__(transport_error().__module__.partition(".")[0])
    asked = http.Request("GET", f"https://hub/api?token={SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
    answer = http.Response(status, request=asked, text=SECRET)
    return cast("Any", kind)(f"{status} for {SECRET}", response=answer)


def request(kind: Kind = "model", uploads: bool = False) -> Request:
    return Request("org/name", "https://hub", kind, uploads, "Everything is still here.")


def test_no_other_room_imports_a_client_of_the_network() -> None:
    package = Path(roco_search.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if CLIENTS & {name.partition(".")[0] for name in names}:
                found.add(path.relative_to(package).parts[0])
    assert found == {"hub"}


@given(
    status=st.integers(400, 599),
    kind=st.sampled_from(["model", "dataset", "space"]),
    uploads=st.booleans(),
    error=st.sampled_from(
        [
            errors.HfHubHTTPError,
            errors.GatedRepoError,
            errors.RevisionNotFoundError,
            errors.RepositoryNotFoundError,
            errors.RemoteEntryNotFoundError,
            errors.BadRequestError,
        ]
    ),
)
def test_every_answer_is_one_refusal_without_secrets(
    status: int, kind: Kind, uploads: bool, error: type[Exception]
) -> None:
    found = refusal(http_error(error, status), request(kind, uploads))
    assert isinstance(found, HubError | ModelNotFound)
    assert isinstance(found, HubError) or (kind == "model" and not uploads)
    text = str(found)
    assert "org/name" in text and SECRET not in text and text.endswith(".")
    if uploads:
        assert f"answered {status} when org/name was uploaded" in text


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (errors.OfflineModeIsEnabled("x"), HubError, "HF_HUB_OFFLINE forbids the network; unset it"),
        (errors.HFValidationError("x"), ModelNotFound, "is not a name that the hub can have; write org/name"),
        (errors.LocalTokenNotFoundError("x"), HubError, "only with a token; set HF_TOKEN"),
        (http_error(errors.GatedRepoError, 403), HubError, "accept its terms on https://hub/org/name"),
        (http_error(errors.RepositoryNotFoundError, 401), ModelNotFound, "The hub has no model org/name"),
        (http_error(errors.HfHubHTTPError, 403), HubError, "answered 403 when asked for org/name; set HF_TOKEN"),
        (http_error(errors.HfHubHTTPError, 503), HubError, "answered 503 when asked for org/name; try again later"),
        (json.JSONDecodeError("x", SECRET, 0), HubError, "What answers at https://hub is not a model hub"),
        (ConnectionError(SECRET), HubError, r"https://hub cannot be reached \(ConnectionError\).*still here\.$"),
        (TimeoutError(SECRET), HubError, r"cannot be reached \(TimeoutError\)"),
        (transport_error()(SECRET), HubError, "cannot be reached"),
    ],
)
def test_each_refusal_names_its_remedy(error: Exception, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as found, refusals(request()):
        raise error
    assert SECRET not in str(found.value) and found.value.__cause__ is None and found.value.__suppress_context__


@pytest.mark.parametrize("error", [StorageFull("x"), ValueError("x"), OSError(28, "x"), KeyboardInterrupt()])
def test_what_is_not_the_hubs_passes_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as found, refusals(request()):
        raise error
    assert found.value is error


@pytest.mark.parametrize(
    ("kind", "page"),
    [("model", "https://hub/org/name"), ("dataset", "https://hub/datasets/org/name"),
     ("space", "https://hub/spaces/org/name")],
)  # fmt: skip
def test_the_page_of_a_repository(kind: Kind, page: str) -> None:
    assert request(kind).page == page


def test_the_endpoint_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example/")
    assert connect().endpoint == "http://mirror.example"
    assert connect("http://other.example/").endpoint == "http://other.example"
    monkeypatch.delenv("HF_ENDPOINT")
    assert connect().endpoint == huggingface_hub.constants.ENDPOINT


@given(st.from_regex(r"[\w./ -]{1,30}", fullmatch=True) | st.from_regex(r"[\w.-]{1,9}/[\w.-]{1,9}", fullmatch=True))
def test_a_repository_that_is_accepted_is_one_for_the_hub_too(text: str) -> None:
    if is_repository(text):
        validate_repo_id(text)
        assert text.count("/") == 1
