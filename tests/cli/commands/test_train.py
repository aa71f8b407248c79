"""``roco train`` as a person meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from roco_search.models.checkpoint import Checkpoint
from roco_search.models.compiling.towers import available
from tests.cli.conftest import Roco
from tests.models.checkpoints import clip
from tests.training.data import draw


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve drawn images in Hugging Face's imagefolder layout, with cases and without a validation split."""
    return imagefolder(tmp_path / "pairs", [pair.caption for pair in draw(tmp_path / "pairs", 12)])


def imagefolder(folder: Path, captions: list[str]) -> Path:
    rows = [
        {"file_name": f"{i:03d}.png", "text": caption, "case": f"case {i // 2}", "license": "CC BY 4.0"}
        for i, caption in enumerate(captions)
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return clip(tmp_path / "clip")


SMALL = ("--batch-size", 4, "--micro-batch", 2, "--learning-rate", 1e-3, "--max-steps", 3)


def test_a_run_leaves_a_model_that_can_be_used_and_is_not_overwritten(
    roco: Roco, data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROCO_CACHE", str(tmp_path / "cache"))  # another test may have compiled the same weights
    roco("--version")  # takes away what transformers printed when it wrote the base
    command = ("train", data, "--base", base, "--output", tmp_path / "out", *SMALL)
    done = roco(*command)
    assert done.code == 0, done.err
    assert "shards" not in done.err, "transformers' own progress bars stay away"
    assert "The last model, of step 3 with a mean recall of" in done.out
    (suggested,) = re.findall(r"Next: roco (eval \S+ --model \S+); roco index FOLDER --model", done.out)
    assert "are too few to choose a model by (50 are needed)" in done.err
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert "10 pairs (5 cases" in done.err, "what was read is printed before the first step"
    assert "split off train" in done.err, "and that the validation split was split off"
    (tmp_path / "out" / "large.bin").write_bytes(bytes(10**6))
    about = roco("model", "info", tmp_path / "out", "--json").json
    assert (tmp_path / "out" / "model.safetensors").stat().st_size < about["bytes"] < 10**6, "it counts the model"
    before, after = (
        roco("eval", data, "--split", "train", "--model", base, "--json"),
        roco(*suggested.split(), "--split", "train", "--json"),
    )
    assert before.code == after.code == 0, after.err
    assert before.json["metrics"].keys() == after.json["metrics"].keys()
    assert "Compiling" in done.err and available(Checkpoint.open("out", tmp_path / "out"))
    indexed = roco("index", data, "--model", tmp_path / "out", "--json")
    assert "Compiling" not in indexed.err
    assert indexed.code == 0 and indexed.json["indexed"] == 12
    assert roco("query", "disc", "--json").code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    metrics = header["model-index"][0]["results"][0]["metrics"]
    assert {metric["name"] for metric in metrics} >= {"image-to-text recall@1", "text-to-image recall@10"}
    assert "CC BY 4.0 (" in card and "not for clinical use" in card and str(tmp_path) not in card

    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    refused = roco(*command)
    assert refused.code == 1 and "train it for more epochs with --prolong" in refused.err
    again = roco(*command, "--resume", "auto")
    assert again.code == 0 and "This run ended at step 3; --prolong 3 trains it" in again.err
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights


def test_a_dry_run_measures_and_writes_nothing(roco: Roco, data: Path, base: Path, tmp_path: Path) -> None:
    done = roco("train", data, "--base", base, "--output", tmp_path / "out", *SMALL, "--dry-run", "--json")
    assert done.code == 0
    plan = done.json
    assert plan["steps"] == 3 and plan["step_seconds"] > 0 and plan["memory_bytes"] > 1e6
    assert plan["learning"] == plan["parameters"] and plan["objective"] == "info-nce"
    assert not (tmp_path / "out").exists()
    assert "two of" in roco("train", data, "--base", base, "--output", tmp_path / "out", *SMALL, "--dry-run").out


def test_json_is_for_programs_and_the_originals_preset_is_what_it_was(
    roco: Roco, data: Path, base: Path, tmp_path: Path
) -> None:
    roco("--version")  # takes away what transformers printed when it wrote the base
    command = ("train", data, "--base", base, "--output", tmp_path / "out", "--preset", "roco-v1", "--max-steps", 2)
    done = roco(*command, "--micro-batch", 4, "--batch-size", 8, "--json", "--quiet")
    assert done.code == 0, done.err
    settings = done.json["model"]["settings"]
    assert settings["accumulation"] == "naive" and settings["image_tower"] == "last:30%"
    assert done.json["model"]["precision"] == "fp16"
    assert done.json["ending"] == "finished" and done.json["step"] == 2 and done.json["kept"] == "last"
    assert not done.err, repr(done.err)


@pytest.mark.parametrize(
    ("captions", "match"),
    [
        ([""] * 12, "caption"),
        (["one and the same"] * 12, "caption"),
        (["alone"], "pair"),
    ],
)
def test_data_that_teach_nothing_are_refused(
    roco: Roco, data: Path, base: Path, tmp_path: Path, captions: list[str], match: str
) -> None:
    imagefolder(data, captions)
    done = roco("train", data, "--base", base, "--output", tmp_path / "out", *SMALL)
    assert done.code == 1 and match in done.err and done.err.count("Error:") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (("--image-tower", "some"), 1, "does not name what to train"),
        (("--accumulation", "sloppy"), 1, "not one of exact, naive"),
        (("--resume", "perhaps"), 2, "not one of never, auto"),
        (("--prolong", "2"), 1, "has no finished run; leave --prolong out"),
        (("--preset", "roco-v9"), 1, "there is roco-v1"),
        (("--licence", "CC0"), 1, "CC BY 4.0"),
    ],
)
def test_settings_that_cannot_be_meant(
    roco: Roco, data: Path, base: Path, tmp_path: Path, arguments: tuple[str, str], code: int, match: str
) -> None:
    done = roco("train", data, "--base", base, "--output", tmp_path / "out", *SMALL, *arguments)
    assert done.code == code and match in done.err
    assert not (tmp_path / "out").exists()


def test_neither_data_nor_model_are_guessed(roco: Roco, data: Path, base: Path, tmp_path: Path) -> None:
    assert "nowhere" in roco("train", tmp_path / "nowhere", "--base", base, "--output", tmp_path / "o", *SMALL).err
    done = roco("train", data, "--base", "clip-roco", "--output", tmp_path / "o", *SMALL)
    assert done.code == 1 and "roco model pull clip-roco" in done.err
