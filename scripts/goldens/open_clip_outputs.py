"""Compute what open_clip itself makes of small random checkpoints: the golden file of ``tests/models/open_clip``.

It runs where open_clip_torch 3.3, timm, torch and torchvision are installed, which roco does without:

    python scripts/goldens/open_clip_outputs.py tests/models/open_clip/golden.json

The file holds configurations, names and shapes of tensors, and embeddings; all else comes from seeds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.models.open_clip.seeds import BERT, CASES, TEXT, TEXTS, TOWER, VOCABULARY, images, values, vit


def merges() -> list[str]:
    """Return the first merges of CLIP's byte pairs: enough for words of several pieces."""
    import gzip

    import open_clip

    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    return gzip.open(path, "rt", encoding="utf-8").read().split("\n")[1:301]


def main(target: Path) -> None:
    """Write the golden file."""
    import gzip

    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    folder = Path(tempfile.mkdtemp())
    tower = folder / "bert"
    tower.mkdir()
    (tower / "config.json").write_text(json.dumps(BERT))
    (tower / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tower / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )
    pairs = merges()
    with gzip.open(folder / "bpe.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["#version", *pairs]))
    bpe = SimpleTokenizer(bpe_path=str(folder / "bpe.txt.gz"), context_length=TEXT["context_length"])
    golden: dict[str, Any] = {"bert": BERT, "vocabulary": VOCABULARY, "merges": pairs, "cases": {}}
    for name, config in CASES.items():
        if config and "hf_model_name" in config["model_cfg"]["text_cfg"]:
            golden["cases"][name] = compute(folder / name, config, HFTokenizer(str(tower), context_length=32), tower)
        else:
            if config:
                text = {**config["model_cfg"]["text_cfg"], "vocab_size": len(bpe.encoder)}
                config["model_cfg"]["text_cfg"] = text
            golden["cases"][name] = compute(folder / name, config, bpe, tower)
        print(name)
    target.write_text(json.dumps(golden) + "\n")


def compute(folder: Path, config: dict[str, Any], tokenizer: Any, tower: Path) -> dict[str, Any]:
    """Return what the golden file says of a configuration; an empty one is OpenAI's state dict."""
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    folder.mkdir()
    if config:
        # open_clip reads the text tower's configuration from a folder here, and would from the hub.
        used = json.loads(json.dumps(config).replace(TOWER, str(tower)))
        if "hf_model_name" in used["model_cfg"]["text_cfg"]:
            used["model_cfg"]["text_cfg"]["hf_model_pretrained"] = False
        (folder / "open_clip_config.json").write_text(json.dumps({"preprocess_cfg": {}, **used}))
        arguments = {key: value for key, value in used["model_cfg"].items() if key != "custom_text"}
        custom = "custom_text" in used["model_cfg"] or "hf_model_name" in used["model_cfg"]["text_cfg"]
        blank = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**arguments)
    else:
        text = {**TEXT, "width": 128, "vocab_size": len(tokenizer.encoder)}
        blank = open_clip.CLIP(24, vit(224, 32, width=128, head_width=64), text, quick_gelu=True)
    shapes = {key: list(tensor.shape) for key, tensor in blank.state_dict().items() if tensor.is_floating_point()}
    shapes.pop("attn_mask", None)
    state = {key: torch.from_numpy(values(key, tuple(shape))).clone() for key, shape in shapes.items()}
    if config:
        save_file(state, folder / "open_clip_model.safetensors")
        model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    else:  # OpenAI publishes half precision
        halves = {key: tensor.half() for key, tensor in state.items()}
        model = open_clip.openai.build_model_from_openai_state_dict(halves, cast_dtype=torch.float32).float()
        preprocess = open_clip.image_transform(224, is_train=False)
    model.eval()
    with torch.no_grad():
        pixels = torch.stack([preprocess(Image.fromarray(image)) for image in images()])
        found = {
            "images": model.encode_image(pixels, normalize=True),
            "texts": model.encode_text(tokenizer(TEXTS), normalize=True),
        }
    return {
        "config": config or None,
        "shapes": shapes,
        **{name: tensor.numpy().round(7).tolist() for name, tensor in found.items()},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
