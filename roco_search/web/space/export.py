"""The demo as a Space for Hugging Face: a folder that contains everything it needs, and runs anywhere.

A Space installs ``requirements.txt`` before its other files exist, so our wheel cannot be named in it; ``app.py``
unpacks the wheel instead. Requirements are pinned to the versions installed here, with which the demo was tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from roco_search import __version__
from roco_search.errors import InputError
from roco_search.hub.upload import upload
from roco_search.models.catalogue import installed, registry
from roco_search.models.compiling.towers import beside
from roco_search.system.files import write_errors, write_file
from roco_search.web.app import check_gradio
from roco_search.web.space.phantoms import write_examples
from roco_search.web.space.wheel import PACKAGE, build_wheel, requirements

MARK = "roco-space.json"
MODEL = "model"
# hnswlib must be compiled, and is used only by libraries of 200,000 images and more.
UNUSED = frozenset({"hnswlib"})
# Gigabytes that a model with compiled towers does not need.
OF_TORCH = frozenset({"torch", "transformers"})
LARGE = ("*.whl", "*.safetensors")
TEMPLATES = Path(__file__).parents[1] / "assets" / "space"


@dataclass(frozen=True, slots=True)
class ExportedSpace:
    """What was written: the folder, the model's name, the files' paths below the folder, and their total bytes."""

    folder: Path
    model: str
    files: list[str]
    bytes: int


def export_space(folder: Path, model: str | Path | None = None) -> ExportedSpace:
    """Write a Space.

    Parameters
    ----------
    folder
        A new or empty folder, or an exported Space, which is renewed; other files in it are kept.
    model
        A name or folder, as for `load_encoder`; None for the model of new libraries.

    Raises
    ------
    InputError
        If gradio is not installed, roco's own wheel cannot be built, or the folder contains other files or cannot be
        written.
    ModelNotFound, UnsupportedModel
    """
    check_gradio()
    checkpoint = registry.find(model or registry.default())
    embedded = checkpoint.directory == registry.EMBEDDED
    light = beside(checkpoint, "text") is not None
    with write_errors(folder):
        _prepare(folder)
        wheel = build_wheel(folder)
        written = [wheel, *write_examples(folder / "examples")]
        if not embedded:
            written += _copy_model(checkpoint.directory, folder / MODEL)
        files = {
            "app.py": (TEMPLATES / "app.py").read_text("utf-8"),
            "requirements.txt": _requirements(light=light),
            "README.md": (TEMPLATES / "README.md")
            .read_text("utf-8")
            .format(
                gradio=version("gradio"),
                python=f"{sys.version_info.major}.{sys.version_info.minor}",
                wheel=wheel.name,
                version=__version__,
                model=Path(checkpoint.name).name,
                card=_card(checkpoint.directory),
            ),
            ".gitattributes": "".join(f"{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in LARGE),
            MARK: json.dumps({"format": 1, "roco": __version__, "model": None if embedded else MODEL}) + "\n",
        }
        for name, text in files.items():
            written.append(folder / name)
            write_file(folder / name, text, mode=0o644)  # it is meant to be published
    names = sorted(os.fspath(path.relative_to(folder)) for path in written)
    return ExportedSpace(folder, Path(checkpoint.name).name, names, sum(path.stat().st_size for path in written))


def is_space(folder: Path) -> bool:
    """Whether a folder contains a Space that `export_space` wrote."""
    return (folder / MARK).is_file() and (folder / "app.py").is_file()


def push_space(folder: Path, repository: str, *, endpoint: str | None = None) -> str:
    """Upload an exported Space and return the address of its page.

    A new Space is private; one that exists keeps its visibility, and gets what has changed.

    Parameters
    ----------
    folder
        A folder that `export_space` wrote.
    repository
        ``ORG/NAME`` on the hub.
    endpoint
        The hub's address; by default ``HF_ENDPOINT``, or else ``https://huggingface.co``.

    Raises
    ------
    InputError
        If the folder contains no Space, or the name is not one that a repository can have.
    HubError
        If the hub refuses or cannot be reached.
    """
    if not is_space(folder):
        raise InputError(f"{folder} contains no Space; write one with `roco demo --export-space {folder}`.")
    return upload(
        folder,
        repository,
        "space",
        "roco demo --export-space",
        ignored=[".git", ".git/*", "**/__pycache__/*"],
        replaced=["*.whl", f"{MODEL}/*", "examples/*"],  # a renewed Space must not keep the wheel of an older roco
        endpoint=endpoint,
    )


def _prepare(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not is_space(folder))):
        raise InputError(f"{folder} contains other files than a Space of roco; choose a new or empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{PACKAGE}-*.whl"):
        old.unlink()
    for name in (MODEL, "examples"):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _copy_model(source: Path, target: Path) -> list[Path]:
    target.mkdir()
    names = [path.name for path in sorted(source.iterdir())]
    kept = [name for name in names if installed.belongs_to_a_model(name) or name.endswith(".onnx")]
    return [Path(shutil.copyfile(source / name, target / name)) for name in kept]


def _requirements(*, light: bool) -> str:
    left_out = UNUSED | (OF_TORCH if light else frozenset())
    names = sorted({*requirements(), "gradio"} - left_out)
    return "".join(f"{name}=={version(name)}\n" for name in names)


def _card(directory: Path) -> str:
    try:
        text = (directory / "README.md").read_text("utf-8")
    except OSError:
        return "This model has no model card."
    without_header = re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)
    # Its headings move down one level, below the page's own.
    return re.sub(r"^(#+ )", r"#\1", without_header, flags=re.MULTILINE).strip()
