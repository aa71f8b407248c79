"""rclip 3.3.0 from PyPI, in a virtual environment of its own, with random weights in the shape of its model.

Its weights (ViT-B/32 at 256 pixels) come from a hub; speed does not depend on their values, so the same architecture
with random weights, under the file names that it looks for, stands in for them where there is no network.
"""

from __future__ import annotations

import gzip
import itertools
import os
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from measuring import Runs, run

VERSION = "3.3.0"
SUBDIR = "ViT-B-32-256-datacomp_s34b_b86k"
STANDS_FOR = "rclip 3.3.0 (random weights in the shape of its ViT-B/32, 256 px, fp32)"
_MERGES = 49152 - 256 - 2


class Rclip:
    """An installed rclip and its data folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "data"
        self._install()
        self._model()

    def _install(self) -> None:
        if not (self.home / "venv/bin/rclip").exists():
            print(f"Installing rclip {VERSION} into {self.home}/venv …", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(self.home / "venv")], check=True)
            pip = [str(self.home / "venv/bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, f"rclip=={VERSION}"], check=True)

    def _model(self) -> None:
        folder = self.data / SUBDIR
        if (folder / "textual.onnx").exists():
            return
        print("Making random weights in the shape of rclip's model …", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        (self.data / "tokenizer").mkdir(exist_ok=True)
        letters = [chr(i) for i in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
        merges = (f"{one} {two}" for one, two in itertools.islice(itertools.product(letters, letters), _MERGES))
        with gzip.open(self.data / "tokenizer/bpe_simple_vocab_16e6.txt.gz", "wt", encoding="utf-8") as file:
            file.write("#version: 0.2\n" + "\n".join(merges) + "\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _export(folder)

    def write_library(self, count: int) -> Path:
        """Make its database of `count` images with random vectors; return the folder that it records for them."""
        place = self.home / f"images-{count}"
        data = self.home / f"data-{count}"
        place.mkdir(exist_ok=True)
        if not (data / "db.sqlite3").exists():
            data.mkdir(exist_ok=True)
            for name in (SUBDIR, "tokenizer"):
                (data / name).symlink_to(self.data / name)
            connection = sqlite3.connect(data / "db.sqlite3")
            connection.execute(
                "CREATE TABLE images (id INTEGER PRIMARY KEY, deleted BOOLEAN, filepath TEXT NOT NULL UNIQUE, "
                "modified_at DATETIME NOT NULL, size INTEGER NOT NULL, vector BLOB NOT NULL, indexing BOOLEAN, "
                "hash TEXT)"
            )
            connection.execute("CREATE UNIQUE INDEX existing_images ON images(filepath) WHERE deleted IS NULL")
            connection.execute("CREATE INDEX hash_index ON images(hash) WHERE deleted IS NULL")
            connection.execute("CREATE TABLE db_version (version INTEGER)")
            connection.execute("INSERT INTO db_version VALUES (4)")
            vectors = np.random.default_rng(0).normal(size=(count, 512)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = ((str(place / f"{i:08}.png"), vector.tobytes()) for i, vector in enumerate(vectors))
            sql = "INSERT INTO images (filepath, modified_at, size, vector) VALUES (?, 1, 1, ?)"
            connection.executemany(sql, rows)
            connection.commit()
            connection.close()
        return place

    def query(self, count: int, text: str, into: Runs) -> None:
        """Ask a cold process, which looks at no file."""
        place = self.write_library(count)
        run([str(self.home / "venv/bin/rclip"), "--no-indexing", text], into, cwd=place, env=self._env(f"data-{count}"))

    def index(self, folder: Path, into: Runs) -> None:
        """Index a folder from nothing, and answer a query, which it always does."""
        for path in self.data.glob("db.sqlite3*"):
            path.unlink()
        run([str(self.home / "venv/bin/rclip"), "chest"], into, cwd=folder, env=self._env("data"))

    def _env(self, data: str) -> dict[str, str]:
        # It has a path of its own and must not find this checkout's packages.
        return {"RCLIP_DATADIR": str(self.home / data), "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", **_LOCALE}


_LOCALE = {"LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")}


def _export(folder: Path) -> None:
    import torch
    import transformers as tf

    torch.manual_seed(0)
    text = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    config = tf.CLIPConfig(text_config=text, vision_config={"image_size": 256}, projection_dim=512)
    model = tf.AutoModel.from_config(config, attn_implementation="eager").eval()

    class Text(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name that rclip gives it
            features: torch.Tensor = self.model.get_text_features(input_ids=input).pooler_output
            return features

    class Visual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            features: torch.Tensor = self.model.get_image_features(pixel_values=input).pooler_output
            return features

    tokens = torch.zeros(2, 77, dtype=torch.long)
    tokens[:, 5] = 49407
    for name, tower, given in (("textual", Text(), tokens), ("visual", Visual(), torch.randn(2, 3, 256, 256))):
        torch.onnx.export(
            tower.eval(),
            kwargs={"input": given},
            f=str(folder / f"{name}.onnx"),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes={"input": {0: torch.export.Dim("batch")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
