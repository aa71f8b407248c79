"""Small random checkpoints of every family that can be loaded, saved as transformers saves them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing

from roco_search.models import register
from roco_search.models.open_clip.modeling import OpenClipConfig, OpenClipModel

register()

VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}


def clip(directory: Path, seed: int = 0) -> Path:
    """CLIP with a byte-level BPE and its shortest-edge, centre-crop preprocessing."""
    torch.manual_seed(seed)
    letters = [*string.ascii_lowercase, *string.digits, "-", ",", "."]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = tf.CLIPTokenizer(vocab=vocabulary, merges=[])
    end = vocabulary["<|endoftext|>"]
    text = {
        **TEXT,
        "vocab_size": len(tokens),
        "max_position_embeddings": 20,
        "bos_token_id": end - 1,
        "eos_token_id": end,
    }
    config = tf.CLIPConfig(text_config=text, vision_config=dict(VISION), projection_dim=16)
    return _save(
        directory,
        tf.CLIPModel(config),
        tokenizer,
        _pil("clip", "CLIPImageProcessorPil")(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )


def siglip(directory: Path, seed: int = 0) -> Path:
    """SigLIP: a stretched square, texts padded to the full length, a bias beside the scale."""
    torch.manual_seed(seed)
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=_word_pieces("</s>"),
        pad_token="</s>",
        eos_token="</s>",
        unk_token="[UNK]",
        model_max_length=12,
        model_input_names=["input_ids"],
    )
    size = tokenizer.vocab_size
    config = tf.SiglipConfig(
        text_config={**TEXT, "vocab_size": size, "max_position_embeddings": 12, "projection_size": 32},
        vision_config=dict(VISION),
    )
    processor = _pil("siglip", "SiglipImageProcessorPil")(size={"height": 32, "width": 32})
    return _save(directory, tf.SiglipModel(config), tokenizer, processor)


def siglip2(directory: Path, seed: int = 0) -> Path:
    """SigLIP 2 with native resolution: images become lists of patches, which only transformers prepares."""
    torch.manual_seed(seed)
    letters = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_lowercase]
    tokenizer = tf.Siglip2Tokenizer(vocab={t: i for i, t in enumerate(letters)}, merges=[], model_max_length=12)
    vision = {key: value for key, value in VISION.items() if key != "image_size"}
    config = tf.Siglip2Config(
        text_config={
            **TEXT,
            "vocab_size": len(letters),
            "max_position_embeddings": 12,
            "projection_size": 32,
        },
        vision_config={**vision, "num_patches": 16},
    )
    processor = _pil("siglip2", "Siglip2ImageProcessorPil")(patch_size=8, max_num_patches=16)
    return _save(directory, tf.Siglip2Model(config), tokenizer, processor)


def dual_encoder(directory: Path, seed: int = 0) -> Path:
    """VisionTextDualEncoder of a ViT and a BERT."""
    torch.manual_seed(seed)
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=_word_pieces("[SEP]"), pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    bert = tf.BertConfig(**TEXT, vocab_size=tokenizer.vocab_size, max_position_embeddings=20)
    config = tf.VisionTextDualEncoderConfig.from_vision_text_configs(tf.ViTConfig(**VISION), bert, projection_dim=16)
    processor = _pil("vit", "ViTImageProcessorPil")(size={"height": 32, "width": 32})
    return _save(directory, tf.VisionTextDualEncoderModel(config), tokenizer, processor)


def open_clip(directory: Path, seed: int = 0) -> Path:
    """What a checkpoint of BiomedCLIP's kind is converted to: a ViT and a BERT's first token through an MLP."""
    torch.manual_seed(seed)
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=_word_pieces("[SEP]"), pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    bert = {**TEXT, "model_type": "bert", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 20}
    vit = {**VISION, "model_type": "vit"}
    config = OpenClipConfig(vit, bert, projection_dim=16, text_projection={"hidden": 20})
    processor = _pil("vit", "ViTImageProcessorPil")(size={"height": 32, "width": 32})
    return _save(directory, OpenClipModel(config), tokenizer, processor)


FAMILIES = {
    "clip": clip,
    "siglip": siglip,
    "siglip2": siglip2,
    "vision-text-dual-encoder": dual_encoder,
    "open_clip": open_clip,
}


def _save(directory: Path, model: tf.PreTrainedModel, tokenizer: tf.PreTrainedTokenizerBase, processor: Any) -> Path:
    for part in (model, tokenizer, processor):
        part.save_pretrained(directory)
    return directory


def _word_pieces(end: str) -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "</s>"]
    words = ["chest", "x", "ray", "brain", "mri", "ct", "of", "the", "effusion", "-", "pleural", "##s"]
    tokens = [*special, *words, *string.ascii_lowercase[:5]]
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    start = "[CLS] " if end == "[SEP]" else ""
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start}$A {end}", special_tokens=[("[CLS]", 2), (end, special.index(end))]
    )
    return tokenizer


def _pil(family: str, name: str) -> Any:
    module = __import__(f"transformers.models.{family}.image_processing_pil_{family}", fromlist=[name])
    return getattr(module, name)


__all__ = ["FAMILIES", "clip", "dual_encoder", "open_clip", "siglip", "siglip2"]
