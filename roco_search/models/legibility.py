"""Words in a script that a model has no words of: it reads them as unknown, or letter by letter, and so not at all.

A vocabulary that was made of English has letters of other scripts too (BERT's 86 of Cyrillic, and 492 Chinese
characters), but hardly a word of them. A model knows a script if its vocabulary has many words, or for Chinese many
characters, in it. ASCII is always read, and so are Latin letters with accents and single Greek ones.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from roco_search.models.encoder import Encoder

WORDS = 200  # of several letters; of Cyrillic, BERT's English vocabulary has 8
CHARACTERS = 2000  # of Chinese, where one is a word
_LETTERS = re.compile(r"[^\W\d_]+")
_MARKS = re.compile("^(##|[▁Ġ])|</w>$")


def illegible(encoder: Encoder, texts: Iterable[str]) -> list[str]:
    """Return the words of texts that a model cannot read, each once; none where its vocabulary is not known."""
    found: dict[str, None] = {}
    checkpoint = getattr(encoder, "checkpoint", None)
    if checkpoint is None:
        return []
    for text in texts:
        for word in () if text.isascii() else _words(text):
            others = [script for script in map(_script, word) if script != "LATIN"]
            scripts = set(others) if others != ["GREEK"] else set()
            known = _known(checkpoint.directory)
            if known is not None and scripts - known:
                found[word] = None
    return list(found)


def is_illegible(encoder: Encoder, text: str) -> bool:
    """Return whether a model can read no word of a text that has any."""
    words = _words(text)
    return bool(words) and len(illegible(encoder, [text])) == len(set(words))


def cannot_read(encoder: Encoder, words: Iterable[str]) -> str:
    """Return a sentence about words that `illegible` gave."""
    shown = list(words)
    more = f" and {len(shown) - 3} more words" if len(shown) > 3 else ""
    return (
        f"{encoder.name} cannot read {', '.join(shown[:3])}{more}: its vocabulary has no words in that script; write "
        "them in English."
    )


def _words(text: str) -> list[str]:
    """Return the runs of letters, in the form in which a micro sign or a small two is an ordinary one."""
    return _LETTERS.findall(unicodedata.normalize("NFKC", text))


def _script(letter: str) -> str:
    """Return the script of a letter by the first word of its name in Unicode, such as LATIN or CYRILLIC."""
    return unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0].split("-", 1)[0]


@lru_cache(maxsize=8)
def _known(directory: Path) -> frozenset[str] | None:
    """Return the scripts that the vocabulary in a model's folder has words of; None if it is in no form read here."""
    words: Counter[str] = Counter()
    tokens = _tokens(directory)
    for token in tokens:
        word = _MARKS.sub("", _from_bytes(token))
        if not word.isascii() and word.isalpha():
            scripts = {_script(letter) for letter in word}
            words.update(scripts if len(word) > 1 or scripts == {"CJK"} else ())
    known = {script for script, count in words.items() if count >= (CHARACTERS if script == "CJK" else WORDS)}
    return frozenset(known | {"LATIN", "UNKNOWN"}) if tokens else None


def _tokens(directory: Path) -> list[str]:
    try:
        if (file := directory / "tokenizer.json").is_file():
            vocabulary = json.loads(file.read_text("utf-8"))["model"]["vocab"]
            return [entry if isinstance(entry, str) else entry[0] for entry in vocabulary]
        if (file := directory / "vocab.json").is_file():
            return list(json.loads(file.read_text("utf-8")))
        return (directory / "vocab.txt").read_text("utf-8").splitlines()
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return []


def _from_bytes(token: str) -> str:
    """Return what a token of GPT-2's byte-level encoding stands for; any other as it is."""
    if token.isascii():
        return token
    try:
        return bytes(_BYTES[character] for character in token).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return token


def _byte_characters() -> dict[str, int]:
    """Return GPT-2's table: printable bytes are their own characters, the others are counted from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_characters()
