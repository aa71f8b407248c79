"""README and manual can be followed to the letter: their commands and examples run, and they name every command.

The pages are written for readers. Where a reader would wait (a training, a warm process, a browser), the test makes the
same command shorter: `SHORTENED` says how.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import roco_search
from roco_search.cli import answer, app
from roco_search.cli.commands.help import COVERED_BY, topics
from roco_search.models.catalogue import registry
from roco_search.models.catalogue.registry import EMBEDDED
from tests.hub.hub_server import Repository, serve
from tests.imaging.drawing import shipped
from tests.models.checkpoints import clip
from tests.models.open_clip.published import publish

ROOT = Path(__file__).parents[1]
MANUAL = Path(roco_search.__file__).parent / "manual"
PAGES = [ROOT / "README.md", *sorted(MANUAL.glob("*.md"))]
NOT_RUN = ("scripts/try", "scripts/test")  # CI runs these themselves
SHORTENED = {
    "train": ["--max-steps", "2", "--batch-size", "4", "--micro-batch", "2"],
    "serve": ["--idle", "0.02"],
}
AS_PROCESSES = {"README", "models"}
"""The first pages run as a new user runs them; where the hub's files are cached, a process decides when it starts."""
SMALL = "./clip-vit-base-patch32"
"""The folder of a model that `roco train` loads, trains and compiles in a moment."""
SCANS = {"head.dcm": "CT_small.dcm", "knee.dcm": "MR_small.dcm", "colour.dcm": "SC_rgb_rle_2frame.dcm"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands_of(page: Path) -> list[list[str]]:
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith(NOT_RUN)]
    return [command for line in lines if (command := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: scans, their library, pairs of images and captions, and a model of another maker."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "scans").mkdir()
    for name, source in SCANS.items():
        shutil.copy(shipped(source), folder / "scans" / name)
    shutil.copytree(folder / "scans", folder / "archive")
    write_pairs(folder / "pairs")
    write_labels(folder)
    shutil.copytree(clip(folder / "clip"), folder / "clip-vit-base-patch32", dirs_exist_ok=True)
    publish(folder / "published", "openai-state-dict").replace(folder / "best_64.pt")
    assert run(folder, ["index", "scans"]).returncode == 0
    return folder


@pytest.fixture
def place(indexed: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that folder, since pages change it, with a hub that serves two small models."""
    folder = tmp_path / "reader"
    shutil.copytree(indexed, folder)
    # The library knows its images by their absolute paths.
    done = run(folder, ["library", "relocate", str(indexed / "scans"), str(folder / "scans")])
    assert done.returncode == 0, done.stderr
    yield folder


def write_pairs(folder: Path) -> None:
    """Pairs as a reader would have them: Hugging Face's imagefolder, a training and a test split."""
    files = {
        "CT_small.dcm": "CT",
        "MR_small.dcm": "MR",
        "SC_rgb_rle_2frame.dcm": "OTHER",
        "J2K_pixelrep_mismatch.dcm": "CT",
    }
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        rows: list[dict[str, str]] = []
        for name, modality in files.items():
            shutil.copy(shipped(name), folder / split / f"{split} {name}")
            rows.append(
                {"file_name": f"{split} {name}", "text": f"{modality} number {len(rows)}", "modality": modality}
            )
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_labels(folder: Path) -> None:
    """Small films, half of which show a bright sign, with a table and two lists that say which."""
    (folder / "films").mkdir()
    chance = np.random.default_rng(0)
    lines: dict[bool, list[str]] = {True: [], False: []}
    for number in range(16):
        pixels, shown = chance.integers(40, 90, (48, 48)).astype(np.uint8), number % 2 == 0
        pixels[16:32, 16:32] += 120 * shown
        Image.fromarray(pixels).save(folder / "films" / f"{number}.png")
        lines[shown].append(f"films/{number}.png")
    (folder / "shown.txt").write_text("\n".join(lines[True]))
    (folder / "clean.txt").write_text("\n".join(lines[False]))
    rows = [f"{path},{int(shown)}\n" for shown, paths in lines.items() for path in paths]
    (folder / "labels.csv").write_text("".join(["path,sign\n", *rows]))
    (folder / "looks").mkdir()  # a small mark, by which a model does not sort
    for number in range(48):
        pixels = chance.integers(40, 90, (48, 48)).astype(np.uint8)
        pixels[4:12, 4:12] += 60 * (number % 2)
        Image.fromarray(pixels).save(folder / "looks" / f"{number}.png")
    rows = [f"looks/{number}.png,{number % 2}\n" for number in range(48)]
    (folder / "kinds.csv").write_text("".join(["path,marked\n", *rows]))


def shortened(arguments: list[str]) -> list[str]:
    return [*arguments, *SHORTENED.get(arguments[0], [])]


def environment(place: Path, **more: str) -> dict[str, str]:
    own = {"ROCO_LIBRARY": "library", "ROCO_MODELS": "models", "ROCO_CONFIG": "config.json"}
    return {**{name: str(place / value) for name, value in own.items()}, **more}


def run(place: Path, arguments: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roco_search", *shortened(arguments)]
    variables = {**os.environ, **environment(place, **more)}
    return subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_runs(
    page: Path, place: Path, indexed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    with serve() as hub:
        hub.repositories.update(
            {
                name: Repository.of_folder(indexed / "clip")
                for name in (registry.entries()["biomedclip"].repository or "", "org/name")
            }
        )
        variables = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(place / "hub")}
        for command in commands_of(page):
            if command[0] == "export":
                name, _, variables[name] = command[1].partition("=")
                continue
            assert command[0] == "roco"
            if (command[1:2] == ["demo"] and command[1:] in (["demo"], ["demo", "--examples"])) or command[1:2] == [
                "mcp"
            ]:
                continue  # until Ctrl-C, or until a client ends it; tests/web and tests/agents run them
            if "./tuned" in command and command[1] != "train" and not (place / "tuned").exists():
                (place / "tuned").symlink_to(EMBEDDED, target_is_directory=True)
            if page.stem == "train":  # README trains the embedded model
                command = [SMALL if word == "roco-mini" else word for word in command]  # noqa: PLW2901
            if page.stem in AS_PROCESSES:
                done = run(place, command[1:], **variables)
                code, said = done.returncode, done.stdout + done.stderr
            else:  # which imports torch once for all pages
                for name, value in environment(place, **variables).items():
                    monkeypatch.setenv(name, value)
                monkeypatch.setattr(sys, "stdin", io.StringIO("1 -2\nq\n"))  # whoever marks hits
                code = answer(shortened(command[1:]))
                said = "".join(capsys.readouterr())
            assert code == 0, f"{shlex.join(command)}: {said}"


@pytest.mark.slow
def test_every_python_example_runs(place: Path) -> None:
    printed = []
    for example in blocks(MANUAL / "python.md", "python"):
        done = subprocess.run([sys.executable, "-c", example], cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    pictures, similarities, hits = printed
    assert pictures == ["(128, 128, 3) CT"]
    head, chest = map(float, re.findall(r"-?[\d.]+", similarities[0]))
    assert head > chest
    assert len(hits) == 3


def commands() -> dict[str, Callable[..., Any]]:
    """Every command, those of a group by both names: "model list"."""
    found = {str(command.name): command.callback for command in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            name = group.name or group.typer_instance.info.name
            found[f"{name} {command.name or getattr(command.callback, '__name__', '')}"] = command.callback
    return {name: callback for name, callback in found.items() if callback is not None}


def examples(name: str) -> list[str]:
    return re.findall(r"^\s*Example: `(roco .*)`$", commands()[name].__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented_and_has_an_example(name: str) -> None:
    words = name.split()
    assert [shlex.split(example)[1 : 1 + len(words)] for example in examples(name)] == [words]
    written = {tuple(command[1 : 1 + len(words)]) for page in PAGES for command in commands_of(page)}
    assert tuple(words) in written or name == "help", f"no page of the manual shows roco {name}"


@pytest.mark.slow
def test_the_examples_of_help_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    for name, value in environment(place).items():
        monkeypatch.setenv(name, value)
    for name in (str(command.name) for command in app.registered_commands):
        (example,) = examples(name)
        if name in {"demo", "mcp"}:
            continue
        arguments = [SMALL if word == "roco-mini" else word for word in shlex.split(example)[1:]]  # README's is trained
        code = answer(shortened(arguments))
        assert code == 0, f"{example}: {capsys.readouterr()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_help_prints_every_page_and_leads_from_commands_to_pages() -> None:
    assert {page.stem for page in MANUAL.glob("*.md")} == set(topics())
    plain = [str(command.name) for command in app.registered_commands]
    groups = [str(group.name) for group in app.registered_groups]
    for name in {*plain, *groups} - {"help"}:
        assert COVERED_BY.get(name, name) in topics(), name


@pytest.mark.parametrize("page", sorted(MANUAL.glob("*.md")), ids=lambda page: page.stem)
def test_examples_fit_a_terminal(page: Path) -> None:
    lines = [line for language in ("sh", "text") for block in blocks(page, language) for line in block.splitlines()]
    assert [line for line in lines if len(line) > 78] == []
