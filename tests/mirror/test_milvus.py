"""The same in Milvus: by milvus-lite, which is in no way a server, but has its interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.errors import InputError, MirrorError
from roco_search.mirror import milvus as module
from roco_search.mirror import mirror
from tests.library.toy import Opened
from tests.mirror.test_postgresql import FEW, RARE, few, texts

__all__ = ["few"]
pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("pymilvus", reason="needs pymilvus: pip install 'roco-search[mirror]'")
pytest.importorskip("milvus_lite", reason="needs milvus-lite: pip install milvus-lite")


def test_a_mirror_follows_the_library_and_appears_whole(
    few: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus import MilvusClient

    address = f"milvus://{tmp_path}/mirror.db"

    def ask(what: str, *arguments: Any, **named: Any) -> Any:
        client = MilvusClient(f"{tmp_path}/mirror.db")
        try:
            return getattr(client, what)(*arguments, **named)
        finally:
            client.close()

    done = mirror(few.library, address, texts)
    assert (done.images, done.written, done.check.images, done.check.texts) == (FEW + 1, FEW + 1, 1.0, 1.0)
    rare = next(found for found in done.check.filters if found.where == "modality = MG")
    assert (rare.matching, rare.counted, rare.fewest) == (RARE, RARE, 10)
    ids = few.library.embedded()
    row = ask("get", "roco", ids=[int(ids[3])])[0]
    np.testing.assert_allclose(row["vector"], few.library.embeddings(ids[3:4])[0], atol=1e-6)
    assert (row["path"], row["modality"], row["view"]) == ("/scans/caf\\xe9 '2\\.png", "MG", None)
    assert mirror(few.library, address, texts).written == 0
    first = ask("describe_collection", "roco")["collection_name"]

    few.describe([int(ids[100])], modality="NM")
    few.execute(f"DELETE FROM vectors WHERE frame_id = {ids[200]}")

    def broken(self: module.Milvus, row: Any) -> Any:
        raise KeyboardInterrupt

    def killed(client: Any, name: str) -> None:
        """A process that is killed removes nothing behind itself."""

    with monkeypatch.context() as patched:
        patched.setattr(module.Milvus, "_document", broken)
        with pytest.raises(KeyboardInterrupt):
            mirror(few.library, address, texts)
        assert ask("list_collections") == [first] and ask("get", "roco", ids=[int(ids[200])])
        patched.setattr(MilvusClient, "drop_collection", killed)
        with pytest.raises(KeyboardInterrupt):
            mirror(few.library, address, texts)
    assert len(ask("list_collections")) == 2 and ask("get", "roco", ids=[int(ids[200])])

    done = mirror(few.library, address, texts)
    assert (done.written, done.removed, done.unchanged) == (1, 1, FEW - 1)
    assert ask("list_collections") != [first] and len(ask("list_collections")) == 1
    assert ask("get", "roco", ids=[int(ids[100])])[0]["modality"] == "NM"
    assert ask("get", "roco", ids=[int(ids[200])]) == []
    live = ask("describe_collection", "roco")
    assert json.loads(live["properties"]["roco.checked"])["good"] is True

    ask("create_alias", live["collection_name"], "others")
    ask("alter_collection_properties", live["collection_name"], {"roco": json.dumps({"library": "another"})})
    with pytest.raises(MirrorError, match=r"^roco is the mirror of another library; choose another `table`\.$"):
        mirror(few.library, address, texts)


def test_each_thing_that_is_in_the_way_is_one_sentence(few: Opened) -> None:
    with pytest.raises(MirrorError, match=r"^Milvus cannot be reached at milvus://127\.0\.0\.1:9; check the address"):
        mirror(few.library, "milvus://127.0.0.1:9", texts)
    with pytest.raises(InputError, match=r"holds a user or a password, .* MILVUS_TOKEN") as raised:
        mirror(few.library, "milvus://root:secret@127.0.0.1:9", texts)
    assert "secret" not in str(raised.value)
    with pytest.raises(InputError, match=r"write it as milvus://HOST:PORT, or milvus:///FOLDER/FILE\.db\.$"):
        mirror(few.library, "milvus:", texts)
