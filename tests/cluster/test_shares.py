"""Shards handed out to workers that die become the library of one process; `scripts/proofs/ray` does it with Ray."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from roco_search.cluster.actors import connected, refuse_silence
from roco_search.cluster.shares import Lost, run_shards, shards_of
from roco_search.errors import InputError, RocoError
from roco_search.library.ingest.manifest import Shard
from roco_search.library.ingest.merging import merge
from tests.library.ingest.test_sharding import Killed, fill, killed_after, one_process, run
from tests.library.toy import assert_same_library


class Mortals:
    """Workers of this process, of which some die in the middle of a shard; they finish in any order."""

    size = 3

    def __init__(self, scans: Path, parts: Path, deaths: dict[int, int]) -> None:
        self.scans, self.parts, self.deaths = scans, parts, deaths
        self.running: list[Shard] = []
        self.begun: list[int] = []
        self.most = self.released = 0
        self._chance = random.Random(3)

    def begin(self, shard: Shard) -> None:
        self.running.append(shard)
        self.begun.append(shard.number)
        self.most = max(self.most, len(self.running))

    def wait(self) -> tuple[Shard, RocoError | Lost | None]:
        shard = self.running.pop(self._chance.randrange(len(self.running)))
        if not self.deaths.get(shard.number):
            run(self.scans, self.parts, shard.number, shard.of)
            return shard, None
        self.deaths[shard.number] -= 1
        with pytest.raises(Killed):
            run(self.scans, self.parts, shard.number, shard.of, encoder=killed_after(0))
        return shard, Lost()

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    fill(tmp_path / "scans")
    return tmp_path / "scans"


def test_whoever_dies_costs_only_what_it_had_not_finished(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roco_search.library.ingest.parts.FRAMES_IN_PART", 2)
    parts = tmp_path / "parts"
    pool = Mortals(scans, parts, {1: 1, 4: 2})
    run_shards(pool, shards_of(parts, workers=2))
    assert (sorted(set(pool.begun)), len(pool.begun), pool.most) == (list(range(8)), 8 + 3, 3)
    assert pool.released, "the room of idle workers is given up for those that have yet to start"
    merge(tmp_path / "merged", [parts])
    assert_same_library(tmp_path / "merged", one_process(scans, tmp_path / "alone"))
    assert [shard.of for shard in shards_of(parts, workers=50)] == [8] * 8, (
        "another cluster goes on with the same shards"
    )


def test_a_shard_that_kills_every_worker_is_named_and_the_others_stay(scans: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    pool = Mortals(scans, parts, {1: 3})
    with pytest.raises(RocoError, match=r"^Shard 1/8 lost its worker 3 times; .* run the same command again\.$"):
        run_shards(pool, shards_of(parts, workers=2))
    assert pool.begun.count(1) == 3 and len(list(parts.glob("*.json"))) == 8
    pool.deaths.clear()
    run_shards(pool, shards_of(parts, workers=2))
    merge(tmp_path / "merged", [parts])
    assert_same_library(tmp_path / "merged", one_process(scans, tmp_path / "alone"))


def test_what_no_other_worker_would_mend_is_said_at_once(scans: Path, tmp_path: Path) -> None:
    class Refusing(Mortals):
        def wait(self) -> tuple[Shard, RocoError | Lost | None]:
            return self.running.pop(), InputError("The disk is full.")

    pool = Refusing(scans, tmp_path / "parts", {})
    with pytest.raises(InputError, match="The disk is full"):
        run_shards(pool, shards_of(tmp_path / "parts", workers=2))
    assert len(pool.begun) == 3


def test_a_cluster_is_not_joined_without_a_token_and_nothing_is_joined_without_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"no token for the Ray cluster; copy ~/\.ray/auth_token"), connected("h:6379"):
        pass
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setitem(sys.modules, "ray", None)
    for address in ("h:6379", "local"):
        with pytest.raises(InputError, match=r"^Ray is not installed; run `pip install"), connected(address):
            pass
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    for address in ("127.0.0.1:1", "127.0.0.1", "ray://127.0.0.1:99999999"):
        with pytest.raises(InputError, match=r"^There is no Ray cluster at .*; check the address .*runs\.$"):
            refuse_silence(address)
