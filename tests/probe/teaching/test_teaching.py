"""What a probe claims holds: signal is found, nonsense is not, a shortcut is named, every form of labels is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from roco_search.errors import InputError, ModelMismatch
from roco_search.probe.examples import from_labels, from_lists
from roco_search.probe.report import report
from roco_search.probe.teaching.controls import shuffled
from roco_search.probe.teaching.fitting import Material, held_out_logits
from roco_search.probe.teaching.teach import teach
from roco_search.statistics.classification import auc
from roco_search.system.progress import Silent
from tests.library.toy import ToyEncoder
from tests.probe.conftest import Taught


class Threads(Silent):
    """Counts, whenever a head is ready, the threads that numpy's products may use."""

    seen: set[int]

    def start(self, total: int, done: int = 0) -> None:
        self.seen = set()

    def advance(self, count: int, **figures: float) -> None:
        self.seen |= self.now()

    def now(self) -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_a_finding_is_learned_and_a_planted_shortcut_is_found(taught: Taught) -> None:
    examples = from_labels(taught.opened.library, taught.table)
    assert examples.names == ("middle", "corner") and len(set(examples.cases.tolist())) == 36
    threads = Threads()
    before = threads.now()
    probe = teach(taught.opened.library, taught.opened.encoder, "toy", examples, progress=threads).probe
    assert threads.seen == {1} and threads.now() == before, "waiting threads would spin beside other processes"
    middle, corner = probe.claims
    assert middle.head["auc"][0] > 0.9 and middle.gain is not None and middle.gain[1] > 0
    assert middle.head["brier"][0] < 0.15 and list(middle.curve) == ["5", "10"]
    assert not middle.suspect and corner.suspect and corner.shortcut is not None and corner.shortcut[0] > 0.95
    assert any("'corner' can be told by headers, image size, corners" in warning for warning in probe.caveats())
    for claim in probe.claims:
        assert claim.shuffled is not None and claim.shuffled[1] <= 0.5 <= claim.shuffled[2] + 0.1
    # What is kept is one linear map of the stored vectors.
    vectors = taught.opened.library.embeddings(examples.ids)
    logits = vectors @ probe.weights[0] + probe.bias[0]
    assert auc(logits.astype(float), examples.truth[:, 0] == 1) > 0.95
    page = report(probe)
    assert page.count("<svg") == 4 and "corners and borders alone" in page and "films" not in page


def test_nonsense_gives_one_half_over_many_draws(taught: Taught) -> None:
    chance = np.random.default_rng(0)
    cases = np.arange(60) // 2
    areas = []
    for seed in range(12):
        coordinates, positive = chance.normal(size=(60, 30)), (np.arange(60) // 2) % 2 == 0
        nonsense = shuffled(positive, cases, seed)
        assert all(len(set(nonsense[cases == case])) == 1 for case in cases), "what a case shares stays shared"
        logits = held_out_logits(
            Material(coordinates, np.zeros(60), nonsense, cases), penalties=(100.0, 10.0), seed=seed
        )
        areas.append(auc(logits, nonsense))
    assert abs(np.mean(areas) - 0.5) < 2 * np.std(areas) / np.sqrt(len(areas)) + 0.05


@pytest.mark.parametrize("form", ["jsonl", "tsv", "imagefolder", "classes", "lists"])
def test_every_form_of_labels_says_the_same(taught: Taught, tmp_path: Path, form: str) -> None:
    library = taught.opened.library
    said = list(zip(taught.paths, taught.middle.tolist(), strict=True))
    if form == "jsonl":
        lines = [json.dumps({"path": str(p), "labels": ["middle", "toy"] if m else ["toy"]}) for p, m in said]
        source = tmp_path / "t.jsonl"
        source.write_text("\n".join(lines))
    elif form == "tsv":
        source = tmp_path / "t.tsv"
        source.write_text("file_name\tkind\n" + "".join(f"{p}\t{'middle' if m else 'plain'}\n" for p, m in said))
    elif form == "imagefolder":
        source = taught.table.parent / "films"
        rows = [{"file_name": p.name, "label": "middle" if m else "plain"} for p, m in said]
        (source / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    elif form == "classes":
        source = tmp_path / "sorted"
        for path, middle in said[:20]:
            folder = source / "train" / ("middle" if middle else "plain")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
        taught.opened.index(source)
    if form == "lists":
        for name in (True, False):
            (tmp_path / f"{name}.txt").write_text("\n".join(str(p) for p, m in said if m is name))
        examples = from_lists(library, "middle", [tmp_path / "True.txt"], [tmp_path / "False.txt"])
    else:
        examples = from_labels(library, source, labels=("middle",), column="kind" if form == "tsv" else None)
    (source if form == "imagefolder" else tmp_path / "no").joinpath("metadata.jsonl").unlink(missing_ok=True)
    frames = library.frames.get(examples.ids.tolist())
    got = {Path(f.path).name: bool(v) for f, v in zip(frames.values(), examples.truth[:, 0], strict=True)}
    expected = {path.name: middle for path, middle in said}
    assert got == (expected if form != "classes" else {name: expected[name] for name in got})
    assert len(got) == (20 if form == "classes" else len(said))
    if form == "classes":
        library.remove(source)


def test_what_cannot_be_learned_is_refused_in_a_sentence(taught: Taught, tmp_path: Path) -> None:
    library = taught.opened.library
    table = tmp_path / "few.csv"
    table.write_text("path,label\n" + "".join(f"{p},{'a' if i < 2 else 'b'}\n" for i, p in enumerate(taught.paths[:9])))
    with pytest.raises(InputError, match="'a': 2 of 3 images with it"):
        from_labels(library, table)
    table.write_text("path,label\nnowhere.png,a\n")
    with pytest.raises(InputError, match="none of the images"):
        from_labels(library, table)
    with pytest.raises(InputError, match="no label 'stone'; it has path, middle, corner"):
        from_labels(library, taught.table, labels=("stone",))
    with pytest.raises(InputError, match="no column 'grade'"):
        from_labels(library, taught.table, column="grade")
    with pytest.raises(InputError, match="among the positive and the negative"):
        from_lists(library, "x", taught.paths[:4], taught.paths[3:8])
    examples = from_labels(library, taught.table, labels=("middle",))
    with pytest.raises(ModelMismatch):
        teach(library, ToyEncoder(seed=1), "toy", examples)
