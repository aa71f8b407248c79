"""What the canaries' folders are asked besides: by those who teach a library, by programs and agents, in the demo."""

from __future__ import annotations

import itertools
import json
import uuid
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canary import Sandbox

TERMS = ("chest X-ray", "CT of the head without contrast", "pnuemonia", "Röntgen Thorax", "nothing like this 龘")
PICTURES = 40  # of which the demo is asked to show
LAYOUTS = ("imagefolder", "datasets", "csv", "coco")


def teaching(sandbox: Sandbox, folder: Path) -> None:
    """Mark answers, teach a probe, use it, and pass both and a cohort on in every layout."""
    run, home = sandbox.run, sandbox.home
    rows = [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]
    by_path = {row["path"]: row["modality"] for row in rows if "damaged" not in row["path"]}
    yes = [path for path, modality in by_path.items() if modality == "CT"][:8]
    no = [path for path, modality in by_path.items() if modality not in {None, "CT"}][:8]
    run("query", "CT", "--mark", "--session", "asked", "-n", 5, typed=b"1 3 -2\n\nu\n1 -2\nq\n")
    run("session", "list"), run("session", "show", "asked", "--json"), run("query", "--mark", "--session", "asked")
    sides = [
        part for flag, paths in (("--positive", yes), ("--negative", no)) for path in paths for part in (flag, path)
    ]
    run("probe", "fit", "ct", *sides, "--report", home / "probe.html", "--json")
    run("probe", "fit", "marked", "--from-marks", "asked"), run("probe", "list"), run("probe", "show", "ct", "--json")
    for ending in ("csv", "jsonl", "npz"):
        run("probe", "apply", "ct", "--output", home / f"ct.{ending}")
    run("query", "chest", "--probe", "ct", "--json"), run("query", "chest", "--where", "ct>0.5", "--explain")
    run("classify", folder / "scans", "--probe", "ct", "--json"), run("probe", "next", "ct", "--json")
    (
        run("probe", "export", "ct", home / "ct.roco-probe"),
        run("probe", "import", home / "ct.roco-probe", "--name", "its"),
    )
    for layout in LAYOUTS:
        run("cohort", "export", "some", home / f"cohort-{layout}", "--layout", layout)
    run("cohort", "export", "some", folder / "copies" / "files", "--format", "files")  # the files themselves
    run("cohort", "refresh", "some"), run("probe", "remove", "its"), run("session", "remove", "asked")


def agents(sandbox: Sandbox, folder: Path) -> int:
    """Ask all that agents and programs may ask, well and badly; return how many questions that were."""
    damaged = str(next((folder / "damaged").iterdir()))
    said = {"text": "chest X-ray", "n": 50}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("search_images", said),
        ("search_images", {"text": "CT", "modality": ["no such"]}),
        ("library_status", {}),
        ("list_cohorts", {}),
        ("show_cohort", {"name": "some"}),
        ("similar_images", {"image_id": 1}),
        ("classify_image", {"labels": ["CT", "MRI"], "image_id": 1}),
        ("classify_image", {"labels": ["CT", "MRI"], "path": damaged}),
        ("show_image", {"image_id": 1}),
        ("show_image", {"image_id": 10**6}),
    ]
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "canary", "version": "0"}}
    messages: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/list"},
        *(
            {"id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls, start=2)
        ),
    ]
    typed = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    if (answered := sandbox.converse(("mcp", "--allow-images"), typed.encode(), len(messages) - 1)) < len(messages) - 1:
        sandbox.hung.append(f"roco mcp answered {answered} of {len(messages) - 1} questions")
    with sandbox.beside("serve", "--http", "0", "--allow-images", until=rb"http://127\.0\.0\.1:(\d+)") as port:
        (token,) = [path.read_text().strip() for path in sandbox.home.rglob("*.token")]
        requests: list[tuple[str, dict[str, Any] | None]] = [
            ("/v1/search", said),
            ("/v1/search", {"text": "CT", "modality": [damaged]}),
            ("/v1/similar", {"image_id": 1}),
            ("/v1/classify", {"labels": ["CT", "MRI"], "image_id": 2}),
            ("/v1/classify", {"labels": ["CT", "MRI"], "path": damaged}),
            *((path, None) for path in ("/v1/status", "/v1/cohorts", "/v1/cohorts/some", "/openapi.json", "/")),
            *((f"/v1/images/{number}.png", None) for number in (1, 2, 10**6)),
        ]
        for path, body in requests:
            connection = HTTPConnection("127.0.0.1", int(port[1]), timeout=60)
            named = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(
                "GET" if body is None else "POST", path, None if body is None else json.dumps(body), named
            )
            answer = connection.getresponse()
            sandbox.keep(repr(answer.getheaders()).encode() + answer.read())
            connection.close()
    return len(messages) + len(requests)


def demo(sandbox: Sandbox, folder: Path, uploads: int) -> int:
    """Ask the demo for every picture and what is known of it, for its map and its lists; drop files on it."""
    from tests.web.conftest import Site

    asked = 0
    with sandbox.beside("demo", "--port", "0", until=rb"http://[^:]+:(\d+)") as port:
        site = Site(None, sandbox.home, int(port[1]), folder, uuid.uuid4().hex)  # type: ignore[arg-type]

        def ask(path: str) -> bytes:
            nonlocal asked
            asked += 1
            answer = site.ask(path)
            sandbox.keep(repr(answer.headers).encode() + answer.body)
            return answer.body

        config = json.loads(ask("/config"))
        ask("/"), ask("/roco/map.json?guess=true"), ask("/roco/hits.json?order=folder"), ask("/roco/hits.json?q=chest")
        for term in TERMS:
            sandbox.keep(json.dumps(site.search(term, series=False)).encode())
        missed = 0
        for number in itertools.count(1):
            missed = missed + 1 if b"no such image" in ask(f"/roco/image/{number}.json") else 0
            if missed == 100:
                break
            if missed:
                continue
            # What a picture may show is in its pixels: every one is asked what is known of it, and a few for two sizes.
            for size in (320, 1024) if number <= PICTURES else ():
                ask(f"/roco/image/{number}.jpg?size={size}&overlays=true")
        ask("/roco/image/x.jpg"), ask("/roco/image/1.jpg?size=7"), ask("/roco/image/1.jpg?center=x&width=0")
        files = sorted((folder / "scans").rglob("*.dcm"))[:uploads] + sorted((folder / "damaged").iterdir())[:uploads]
        for elem in ("roco-upload", "roco-classify-upload"):
            for file in files:
                asked += 1
                sandbox.keep(drop(site, config, elem, file))
        for event in config["dependencies"]:
            if any(target[1] == "select" for target in event["targets"]):
                sandbox.keep(fire(site, event, [None] * len(event["inputs"])))
    return asked


def drop(site: Any, config: dict[str, Any], elem: str, file: Path) -> bytes:
    """Upload a file as the page does, and return what its event answers."""
    components = {one["id"]: one["props"] for one in config["components"]}
    (number,) = [id_ for id_, props in components.items() if props.get("elem_id") == elem]
    event = next(
        one for one in config["dependencies"] if [number, "upload"] in [target[:2] for target in one["targets"]]
    )
    data = [components[one].get("value") for one in event["inputs"]]
    try:
        sent = site.upload(file)
        several = components[number].get("file_count") == "multiple"
        data[event["inputs"].index(number)] = [sent] if several else sent
    except AssertionError as error:  # it was refused
        return str(error).encode()
    return fire(site, event, data)


def fire(site: Any, event: dict[str, Any], data: list[Any]) -> bytes:
    """Join the queue for an event of Gradio's, and return all that comes."""
    session = uuid.uuid4().hex
    message = {"data": data, "fn_index": event["id"], "session_hash": session}
    joined = site.ask("/gradio_api/queue/join", "POST", json.dumps(message), Content_Type="application/json")
    if joined.status != 200:
        return bytes(joined.body)
    return bytes(joined.body + site.ask(f"/gradio_api/queue/data?session_hash={session}").body)
