"""A plain text's tokens without the tokenizer: the same as the tokenizer's, whatever the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.errors import UnsupportedModel
from roco_search.models.catalogue.registry import EMBEDDED
from roco_search.models.tokenizer import TextTokenizer, WordPieces, write_table

LENGTH = 64


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[WordPieces, TextTokenizer]:
    path = tmp_path_factory.mktemp("words") / "words.bin"
    assert write_table(EMBEDDED / "tokenizer.json", path)
    return WordPieces(path), TextTokenizer.from_directory(EMBEDDED)


WORDS = ["pleural", "effusion", "x-ray", "MRI,", "T2-weighted", "pneumonoultramicroscopic", "q" * 101, "don't", "3.5mm"]


@settings(max_examples=400)
@given(
    parts=st.lists(
        st.one_of(st.sampled_from(WORDS), st.text(st.characters(max_codepoint=127), max_size=12)), max_size=90
    )
)
def test_plain_texts_come_out_as_the_tokenizer_gives_them(
    both: tuple[WordPieces, TextTokenizer], parts: list[str]
) -> None:
    table, tokenizer = both
    text = " ".join(parts)
    ids = table.encode(text, LENGTH)
    if "[" in text:
        assert ids is None, "perhaps a special token"
    else:
        assert ids == tokenizer([text])[0][0].tolist()


def test_what_is_not_plain_is_left_to_the_tokenizer(both: tuple[WordPieces, TextTokenizer]) -> None:
    for text in ("Lungenödem", "胸部", "[SEP]", "a [MASK] b", "naïve"):
        assert both[0].encode(text, LENGTH) is None


def test_other_tokenizers_have_no_table(tmp_path: Path) -> None:
    whole = json.loads((EMBEDDED / "tokenizer.json").read_text())
    for part in (
        {"normalizer": {**whole["normalizer"], "lowercase": False}},
        {"model": {**whole["model"], "type": "BPE"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"post_processor": None},
        {"added_tokens": [*whole["added_tokens"], {"content": "ct"}]},
    ):
        (tmp_path / "tokenizer.json").write_text(json.dumps(whole | part))
        assert not write_table(tmp_path / "tokenizer.json", tmp_path / "words.bin")
        assert not (tmp_path / "words.bin").exists()


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.bin"
    write_table(EMBEDDED / "tokenizer.json", path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a table"):
        WordPieces(path)


def test_a_tokenizer_whose_library_panics_is_refused_in_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A post-processor that names a token without an id: the library reads the file, and panics at the first text."""
    file = tmp_path / "tokenizer.json"
    content = json.loads((EMBEDDED / "tokenizer.json").read_text("utf-8"))
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": []}
    content["post_processor"] = {**template, "special_tokens": {}}
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UnsupportedModel, match="cannot be read as a tokenizer; copy it again"):
        TextTokenizer.from_file(file, max_length=8)
    assert capfd.readouterr().err == ""
