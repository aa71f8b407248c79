"""Small checkpoints as open_clip publishes them, of the configurations in ``golden.json``.

Their weights, images and texts come from `seeds`; ``scripts/goldens/open_clip_outputs.py`` computed with open_clip 3.3
itself what the golden file says of them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.models.open_clip.seeds import values


@cache
def golden() -> dict[str, Any]:
    """Configurations, names and shapes of tensors, and what open_clip computed."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "golden.json").read_text())
    return found


def state(case: str) -> dict[str, torch.Tensor]:
    """The weights of a case."""
    shapes = golden()["cases"][case]["shapes"]
    return {name: torch.from_numpy(np.array(values(name, tuple(shape)))) for name, shape in shapes.items()}


def publish(folder: Path, case: str, *, pickled: bool = False) -> Path:
    """Write a checkpoint as it is published, and return its folder, or its file where there is no configuration."""
    folder.mkdir(parents=True)
    config = golden()["cases"][case]["config"]
    if config is None:
        torch.save({name: tensor.half() for name, tensor in state(case).items()}, folder / "best.pt")
        return folder / "best.pt"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if pickled:
        torch.save(state(case), folder / "open_clip_pytorch_model.bin")
    else:
        save_file(state(case), folder / "open_clip_model.safetensors")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# As it was published\n")
    return folder


def is_bert(case: str) -> bool:
    """Whether the texts of a case go through a BERT."""
    config = golden()["cases"][case]["config"]
    return bool(config) and "hf_model_name" in config["model_cfg"]["text_cfg"]


def tokenizer(folder: Path, case: str) -> Path:
    """Write the folder of the model whose tokenizer a case takes, and return it."""
    folder.mkdir(parents=True)
    return _bert(folder) if is_bert(case) else _clip(folder)


def _bert(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(golden()["bert"]))
    (folder / "vocab.txt").write_text("\n".join(golden()["vocabulary"]) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    return folder


def _clip(folder: Path) -> Path:
    """CLIP's byte pairs with a few merges, in the order of ``open_clip/tokenizer.py``."""
    pairs = golden()["merges"]
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [*map(chr, shown), *(chr(256 + n) for n in range(256 - len(shown)))]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair.split()) for pair in pairs),
              "<|startoftext|>", "<|endoftext|>"]  # fmt: skip
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    return folder
