"""Texts to token ids without transformers, in two ways that give the same ids.

`TextTokenizer` runs a checkpoint's own ``tokenizer.json`` in the tokenizers library, for any text. `WordPieces` is
BERT's uncased WordPiece for plain ASCII text alone, over a table in a mapped file: a query then need not import and
load tokenizers, which takes 0.2 s. `write_table` writes that file when a model is compiled.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roco_search.errors import UnsupportedModel
from roco_search.models.checkpoint import read_json, refuse_damage

if TYPE_CHECKING:
    from tokenizers import Tokenizer


WORDS = "words.bin"
_HEAD = struct.Struct("<8sIIIII")  # magic, words, [CLS], [SEP], [UNK], characters of a word at most
_MAGIC = b"ROCOWRD1"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PARTS = re.compile(r"[!-/:-@\[-`{-~]|[^\s!-/:-@\[-`{-~]+")  # A punctuation mark, or what stands between them.


@contextmanager
def refuse_panics(refusal: Exception) -> Iterator[None]:
    """Raise `refusal` for whatever tokenizers raises at a damaged file, which must be used once to be known for sound.

    Where its Rust code panics, pyo3 raises a BaseException of a class that cannot be imported, after a report on
    standard error, which is kept off the console.
    """
    console = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise refusal from error
        raise
    finally:
        os.dup2(console, 2)
        os.close(console)
        os.close(nowhere)


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
        from tokenizers import Tokenizer

        refusal = UnsupportedModel(
            f"{file} cannot be read as a tokenizer; copy it again from where the model comes from."
        )
        with refuse_panics(refusal):
            tokenizer = Tokenizer.from_file(str(file))
            tokenizer.encode("a")
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        return cls(tokenizer, max_length, pad_id, pad_to_max)

    @classmethod
    def from_directory(cls, directory: Path) -> TextTokenizer:
        """Read ``tokenizer.json``, and the length in tokens from ``tokenizer_config.json``."""
        with refuse_damage(directory.name, "its tokenizer_config.json"):
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

    def count_cut(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than ``max_length``."""
        return sum(bool(encoding.overflowing) for encoding in self.tokenizer.encode_batch(list(texts)))


class WordPieces:
    """BERT's WordPiece over a mapped table, which `write_table` wrote.

    The file holds a header, the id of each word, the offsets of the words and the words, sorted by their bytes: uint32
    little-endian. Greedy longest match (Wu et al. 2016, arXiv:1609.08144), by binary search.

    Raises
    ------
    ValueError
        If the file is no such table.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, self._count, self.start, self.end, self.unknown, self._longest = _HEAD.unpack_from(self._data)
        self._offsets = _HEAD.size + 4 * self._count
        self._words = self._offsets + 4 * (self._count + 1)
        if magic != _MAGIC or len(self._data) != self._words + self._offset(self._count):
            raise ValueError("not a table of word pieces")

    def encode(self, text: str, max_length: int) -> list[int] | None:
        """Return the ids of a text, cut to `max_length` with its two special tokens; None if it is not plain."""
        if not text.isascii() or "[" in text:
            return None
        ids = [number for part in _PARTS.findall(_CONTROL.sub("", text.lower())) for number in self._pieces(part)]
        return [self.start, *ids[: max_length - 2], self.end]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > self._longest:
            return [self.unknown]
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._find((word[start:end] if not start else f"##{word[start:end]}").encode())
                if piece is not None:
                    break
            else:
                return [self.unknown]
            found.append(piece)
            start = end
        return found

    def _find(self, word: bytes) -> int | None:
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._word(middle) < word:
                low = middle + 1
            else:
                high = middle
        if low < self._count and self._word(low) == word:
            return int(struct.unpack_from("<I", self._data, _HEAD.size + 4 * low)[0])
        return None

    def _word(self, number: int) -> bytes:
        return self._data[self._words + self._offset(number) : self._words + self._offset(number + 1)]

    def _offset(self, number: int) -> int:
        return int(struct.unpack_from("<I", self._data, self._offsets + 4 * number)[0])


def write_table(tokenizer: Path, target: Path) -> bool:
    """Write the table of a ``tokenizer.json`` for `WordPieces`; write nothing and return False if it is not BERT's."""
    content = json.loads(tokenizer.read_text("utf-8"))
    special = _special(content)
    if special is None:
        return False
    vocabulary: dict[str, int] = content["model"]["vocab"]
    words = sorted((word.encode(), number) for word, number in vocabulary.items())
    offsets = list(_running(len(word) for word, _ in words))
    longest = int(content["model"].get("max_input_chars_per_word", 100))
    head = _HEAD.pack(_MAGIC, len(words), *(vocabulary[name] for name in special), longest)
    numbers = struct.pack(f"<{len(words)}I", *(number for _, number in words))
    target.write_bytes(
        head + numbers + struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(word for word, _ in words)
    )
    return True


def _special(content: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the names of the tokens at the start and the end and of the unknown one, if the rest is BERT's."""
    try:
        normal, model = content["normalizer"], content["model"]
        is_bert = (
            (normal["type"], normal["lowercase"], normal["clean_text"]) == ("BertNormalizer", True, True)
            and content["pre_tokenizer"]["type"] == "BertPreTokenizer"
            and (model["type"], model["continuing_subword_prefix"]) == ("WordPiece", "##")
            # Other added tokens than those in brackets would be found inside words.
            and all(token["content"].startswith("[") for token in content["added_tokens"])
        )
        first, middle, last = content["post_processor"]["single"]
        if is_bert and middle["Sequence"]["id"] == "A":
            return first["SpecialToken"]["id"], last["SpecialToken"]["id"], model["unk_token"]
    except (KeyError, TypeError, ValueError):
        pass
    return None


def _running(lengths: Iterator[int]) -> Iterator[int]:
    total = 0
    yield total
    for length in lengths:
        total += length
        yield total
