"""Places for a shared library: a folder, and a bucket of moto's S3 server on loopback."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roco_search.library import Library
from tests.library.toy import ToyEncoder

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A client of a server that has the bucket "scans"."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed; pip install 'moto[s3,server]'")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="scans")
    yield client
    server.stop()


@dataclass
class Place:
    """An address, and people who use it, each with a data folder of their own."""

    address: str
    folder: Path
    setenv: Callable[[str, str], None]

    def person(self, name: str) -> Path:
        """From here on it is this person who runs roco; return where their copies are."""
        data = self.folder / name
        data.mkdir(exist_ok=True)
        self.setenv("XDG_DATA_HOME", str(data))
        return data / "roco" / "shared"

    def index(self, *paths: Path, **options: Any) -> Any:
        with Library.create_or_open(self.address) as library:
            return library.index(paths, ToyEncoder(), **options)

    def paths(self) -> list[str]:
        with Library.open(self.address) as library:
            return sorted(Path(row.path).name for row, _ in library.frames.rows(library.active()))


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    pytest.importorskip("lancedb", reason="lancedb (180 MB) is not installed; pip install 'roco-search[cluster]'")
    if request.param == "file":
        (tmp_path / "share").mkdir()
        address = f"lance+file://{tmp_path}/share/scans"
    else:
        client = request.getfixturevalue("s3")
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": client.meta.endpoint_url, "AWS_ALLOW_HTTP": "true"}.items():
            monkeypatch.setenv(name, value)
        address = f"lance+s3://scans/{tmp_path.name}"
    made = Place(address, tmp_path, monkeypatch.setenv)
    made.person("anna")
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)
