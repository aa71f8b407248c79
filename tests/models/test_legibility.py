"""A model reads the scripts that its vocabulary has words of, and says which words of a text it cannot read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from roco_search.models import load_encoder
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.legibility import cannot_read, illegible, is_illegible


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("pleural effusion", []),
        ("Pleuraerguss über dem Zwerchfell, œdème, hernia hiatal pequeña", []),
        ("β-thalassaemia, 5 µm, 37 °C, T₂", []),
        ("肺炎", ["肺炎"]),
        ("пневмония legkich", ["пневмония"]),
        ("ct 胸部 θώρακας ct 胸部", ["胸部", "θώρακας"]),
        ("폐렴 التهاب दिल", ["폐렴", "التهاب", "द"]),
        ("12 - ?", []),
    ],
)
def test_the_embedded_model_reads_latin_letters_alone(text: str, unread: list[str]) -> None:
    encoder = load_encoder("roco-mini")
    found = illegible(encoder, [text])
    assert found[: len(unread)] == unread if unread else not found
    assert not is_illegible(encoder, "pneumonia or 肺炎") and is_illegible(encoder, "肺炎, 12")


@dataclass
class Named:
    """All of an encoder that counts here."""

    checkpoint: Checkpoint
    name: str = "a model"


def folder(path: Path, words: list[str]) -> Named:
    path.mkdir()
    (path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {word: i for i, word in enumerate(words)}}}))
    return Named(Checkpoint("a model", path))


def test_a_vocabulary_with_words_of_a_script_reads_it(tmp_path: Path) -> None:
    cyrillic = [a + b + "ж" for a in "абвгдезиклмнопр" for b in "абвгдезиклмнопр"]
    chinese = [chr(0x4E00 + number) for number in range(3000)]
    as_bytes = {byte: character for character, byte in byte_characters().items()}
    spelled = ["".join(as_bytes[byte] for byte in word.encode()) + "</w>" for word in cyrillic]
    for name, words in (("plain", cyrillic), ("pieces", [f"##{word}" for word in cyrillic]), ("bytes", spelled)):
        reads = folder(tmp_path / name, ["chest", *words, *chinese])
        assert illegible(reads, ["пневмония 肺炎 폐렴"]) == ["폐렴"]  # type: ignore[arg-type]
    few = folder(tmp_path / "few", ["chest", *cyrillic[:20], *chinese[:500]])
    assert illegible(few, ["пневмония 肺炎"]) == ["пневмония", "肺炎"]  # type: ignore[arg-type]
    assert cannot_read(few, ["пневмония"]).startswith("a model cannot read пневмония: ")  # type: ignore[arg-type]
    assert not illegible(folder(tmp_path / "unknown", []), ["肺炎"]), "nothing is said of what is not known"  # type: ignore[arg-type]


def byte_characters() -> dict[str, int]:
    """Transformers' own table of the byte-level encoding."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}
