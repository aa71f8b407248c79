"""A short form of ``scripts/canary``; the script runs every command and the demo over hundreds of files."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import pytest

from tests.cli.conftest import roco  # noqa: F401
from tests.imaging.drawing import shipped

SCRIPTS = Path(__file__).parents[2] / "scripts" / "proofs"


def test_no_word_of_a_header_is_in_anything_that_is_written(
    roco: object,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setenv("ROCO_DEBUG", "1")
    canary, canaries = importlib.import_module("canary"), importlib.import_module("canaries")
    planter, home = canaries.Planter(), tmp_path / "home"
    files = [shipped(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    assert canary.plant(planter, files, tmp_path / "made", random.Random(1))[0] == len(files)
    home.mkdir()
    said: list[str] = []

    def run(*arguments: object) -> tuple[int, bytes]:
        done = roco(*arguments)  # type: ignore[operator]
        said.append(done.out + done.err)
        return done.code, said[-1].encode()

    canary.looking(run, tmp_path / "made", home)
    search = canaries.Search(planter.digests)
    assert planter.planted > 3000
    assert list(search.found("".join(said).encode(), "the output")) == []
    written = [path for folder in (home, tmp_path / "library") for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"library.db", "vectors.matrix", "vectors.facts", "rows.jsonl"}
    assert [found for path in written for found in search.found(path.read_bytes(), path.name)] == []


@pytest.mark.parametrize("hidden", ["plain", "utf-16-le", "base64", "hex", "zlib", "gzip", "zip", "upper case"])
def test_the_search_sees_a_canary_however_it_is_packed(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64
    import gzip
    import io
    import zipfile
    import zlib

    monkeypatch.syspath_prepend(SCRIPTS)
    canaries = importlib.import_module("canaries")
    word = canaries.Planter().word()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", word * 3)
    forms = {
        "plain": word.encode(),
        "utf-16-le": word.encode("utf-16-le"),
        "base64": base64.b64encode(b"x" + word.encode()),
        "hex": word.encode().hex().encode(),
        "zlib": zlib.compress(word.encode() * 3),
        "gzip": gzip.compress(word.encode() * 3),
        "zip": packed.getvalue(),
        "upper case": word.upper().encode(),
    }
    search = canaries.Search(set())
    assert list(search.found(b"before " + forms[hidden] if hidden != "zip" else forms[hidden], "here"))
    assert not list(search.found(b"nothing of the kind", "here"))
