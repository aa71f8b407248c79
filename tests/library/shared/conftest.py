"""Places for a shared library: a folder, and a bucket of moto's S3 server on loopback."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

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


@pytest.fixture(scope="session")
def users(s3: Any) -> dict[str, tuple[str, str]]:
    """Key and secret of people whom the server knows, or does not, and of one who may do everything."""
    import boto3

    iam = boto3.client(
        "iam",
        endpoint_url=s3.meta.endpoint_url,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    made = {}
    for name in ("right", "no rights"):
        iam.create_user(UserName=name.replace(" ", "-"))
        key = iam.create_access_key(UserName=name.replace(" ", "-"))["AccessKey"]
        made[name] = (key["AccessKeyId"], key["SecretAccessKey"])
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="right", PolicyName="all", PolicyDocument=policy)
    unknown = ("AKIA" + "X" * 16, "c2VjcmV0" * 5)
    return {**made, "an unknown key": unknown, "another's secret": (made["right"][0], unknown[1])}


@contextmanager
def checked(s3: Any) -> Iterator[None]:
    """Let the server look at keys and signatures, which it otherwise takes as they come."""
    plain = {"Content-Type": "text/plain"}

    def after(requests: str) -> None:
        urlopen(Request(f"{s3.meta.endpoint_url}/moto-api/reset-auth", data=requests.encode(), headers=plain)).close()

    after("0")
    try:
        yield
    finally:
        after("inf")


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
