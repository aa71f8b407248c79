"""What relevance is fitted to: which pictures are taken, what labels teach, from where on a class is certain."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "relevance"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import certain
    import embedding

    yield embedding, certain
    for name in ("embedding", "heads", "certain"):
        sys.modules.pop(name, None)


def row(**said: Any) -> dict[str, Any]:
    return {"file": "a.png", "source": "films", "modality": "XR", "body_part": "knee", "labels": [], "text": ""} | said


def test_a_label_teaches_what_it_affirms_and_a_doubtful_one_nothing(scripts: Any) -> None:
    embedding, _ = scripts
    assert embedding.findings(row(labels=["fracture"], text="No dislocation.")) == {"finding:fracture"}
    assert embedding.findings(row(labels=["KL1: doubtful osteoarthritis"])) == frozenset()
    assert embedding.findings(row(labels=["KL3: moderate osteoarthritis"])) == {"finding:osteoarthritis"}
    assert embedding.findings(row(text="No fracture.")) == {"finding:normal"}, "all that is named is denied"


def test_no_source_teaches_more_than_its_share_of_pictures_of_a_kind(scripts: Any, tmp_path: Path) -> None:
    embedding, _ = scripts
    many = [row(file_name=f"{n}.png", labels=["fracture"]) for n in range(3 * embedding.CAP)]
    few = [row(file_name=f"b{n}.png", labels=["scoliosis"]) for n in range(5)]
    others = [row(file_name=f"c{n}.png", labels=["fracture"], source="more films") for n in range(5)]
    lines = [{name: value for name, value in one.items() if name != "file"} for one in (*many, *few, *others)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    taken = [Path(one["file"]).name for one in embedding.sampled(tmp_path)]
    assert len(taken) == embedding.CAP + 10
    assert {f"b{n}.png" for n in range(5)} | {f"c{n}.png" for n in range(5)} <= set(taken)
    assert sorted(int(name[:-4]) for name in taken if name[0].isdigit())[-1] > 2 * embedding.CAP, "from the whole"


def test_a_class_is_certain_where_two_in_a_hundred_of_the_nearest_other_are_not_passed(scripts: Any) -> None:
    _, certain = scripts
    rng = np.random.default_rng(0)
    near, far = -rng.exponential(0.5, 1000), -rng.exponential(8, 1000)
    limit, share = certain.limit_of(-rng.exponential(0.004, 500), [far, near])
    assert (near > limit).mean() == 0.02 and (far > limit).mean() < 0.02
    assert share == pytest.approx((np.r_[near, far] > limit).mean(), abs=1e-3)
    assert certain.limit_of(near, [near]) == (), "ten times as many have to reach it"
    assert certain.limit_of(near[:3], [far]) is certain.limit_of(near, [far[:3]]) is None, "too few to tell"
    assert certain.limit_of(near, [far - 9])[0] == pytest.approx(np.log(0.5)), "and it has to be likelier than not"
