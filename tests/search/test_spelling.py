"""A misspelt word is corrected, a known one never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from roco_search.search.understanding import understand
from roco_search.vocabulary.concepts import english_words, implied_by_words, lexicon


@pytest.mark.parametrize(
    ("typed", "read"),
    [("pnuemonia", "pneumonia"), ("tuberclosis", "tuberculosis"), ("mamogram", "mammogram"), ("scolosis", "scoliosis")],
)
def test_a_misspelt_word_is_corrected_and_that_is_said(typed: str, read: str) -> None:
    found = understand(f"x-ray {typed}")
    assert found.corrected == ((typed, read),) and f'"{typed}" read as "{read}"' in found.line
    assert found.as_json()["corrected"] == {typed: read}
    assert found.wanted == understand(f"x-ray {read}").wanted


def test_a_word_of_the_captions_is_known_and_others_are_corrected_to_it() -> None:
    assert understand("splenosis").corrected == ()
    assert understand("osteopetrosys", {"osteopetrosis"}).corrected == (("osteopetrosys", "osteopetrosis"),)
    assert understand("osteopetrosys", {"osteopetrosys"}).corrected == ()
    assert understand("brain MRI", lambda: pytest.fail("captions are read for an unknown word alone")).corrected == ()


PHRASES = frozenset(lexicon().phrases)
WORDS = frozenset(word for phrase in PHRASES for word in phrase.split())


@given(
    some.lists(
        some.sampled_from(sorted(english_words() | implied_by_words().keys() | PHRASES | WORDS)), min_size=1, max_size=4
    )
)
def test_a_known_word_is_never_corrected(words: list[str]) -> None:
    assert understand(" ".join(words)).corrected == ()


def test_a_word_that_has_a_meaning_only_in_a_phrase_is_left_as_it_is() -> None:
    """It was corrected to itself, for ever."""
    assert understand("fetal head circumference").rest == ("circumference",)
    assert understand("fetal head circumferense").corrected == (("circumferense", "circumference"),)


@pytest.mark.parametrize("word", ["avascular", "hypotension", "intravertebral", "perigastric", "infrahepatic"])
def test_a_known_word_with_a_prefix_is_another_word(word: str) -> None:
    assert understand(word).corrected == ()


@pytest.mark.parametrize("word", ["neuroblastoma", "gastrostomy", "fecal", "branchial", "arteritis", "sinogram"])
def test_a_rare_word_of_radiology_is_not_taken_for_a_frequent_one(word: str) -> None:
    assert understand(word).corrected == () and understand(word).wanted == ()


def test_a_word_is_corrected_to_one_of_a_language_that_the_query_speaks() -> None:
    assert understand("MRI knee plica").corrected == (), 'not to "placa", which is an X-ray in Spanish'
    assert understand("radiografia de torac").corrected == (("torac", "torax"),)
    assert understand("Lungenentzündng").corrected == (("lungenentzundng", "lungenentzundung"),)


def test_a_word_that_only_implies_something_is_known_and_corrected_to() -> None:
    assert understand("cholangitis").corrected == ()
    assert understand("colangitis").corrected == (("colangitis", "cholangitis"),)
    assert understand("tricuspyd").corrected == (("tricuspyd", "tricuspid"),)
