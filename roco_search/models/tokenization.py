"""Texts to token ids with the checkpoint's own ``tokenizer.json``, without transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from roco_search.errors import UnsupportedModel

from .checkpoint import read_json


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """A tokenizer with the length and the padding that its text tower was trained with.

    ``max_length`` counts tokens, special ones included. ``pad_to_max`` is for towers that pool the last
    position (SigLIP); the others are padded to the longest text of the call only, since a text that is alone
    then costs what its own length costs.
    """

    tokenizer: Tokenizer
    max_length: int
    pad_id: int
    pad_to_max: bool = False

    @classmethod
    def from_file(cls, file: Path, *, max_length: int, pad_id: int = 0, pad_to_max: bool = False) -> TextTokenizer:
        """Read ``tokenizer.json``; its stored padding and truncation are replaced by what is given here."""
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare Exception for whatever is wrong with a file
            raise UnsupportedModel(
                f"{file} cannot be read as a tokenizer; copy it again from where the model comes from."
            ) from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        return cls(tokenizer, max_length, pad_id, pad_to_max)

    @classmethod
    def from_directory(cls, directory: Path) -> TextTokenizer:
        """Read ``tokenizer.json``, and the length in tokens from ``tokenizer_config.json``."""
        length = int(read_json(directory / "tokenizer_config.json")["model_max_length"])
        return cls.from_file(directory / "tokenizer.json", max_length=length)

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(input_ids, attention_mask)``, both int64 ``(len(texts), tokens)``, padded on the right."""
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        length = self.max_length if self.pad_to_max else max(map(len, encoded), default=0)
        ids = np.full((len(encoded), length), self.pad_id, np.int64)
        mask = np.zeros((len(encoded), length), np.int64)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return ids, mask
