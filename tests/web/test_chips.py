"""Chips: what was understood, and the query without it, which is read as all the rest."""

import pytest

from roco_search.search.understanding import understand
from roco_search.vocabulary.concepts import lexicon, meant_at
from roco_search.web.chips import chips_of, spoken


def test_every_concept_can_be_said_so_that_it_is_read_again() -> None:
    """A general one means its usual kind, where it stands alone."""
    concepts = [meant_at(concept, ()) for concept in lexicon().concepts.values()]
    assert [concept.key for concept in concepts if concept not in understand(spoken(concept)).wanted] == []


@pytest.mark.parametrize(
    "text",
    [
        "CXR without pnuemonia",
        "axial brain MRI glioma",
        "Röntgen Thorax",
        "pleural effusion strange words",
        "knee effusion w/o contrast",
    ],
)
def test_a_chip_takes_away_what_it_says_and_nothing_else(text: str) -> None:
    whole = understand(text)
    chips = chips_of(whole)
    assert len(chips) == len(whole.wanted) + len(whole.excluded) + len(whole.corrected) + bool(whole.rest)
    for number, concept in enumerate((*whole.wanted, *whole.excluded)):
        left = understand(chips[number].without)
        assert set(left.wanted) == set(whole.wanted) - {concept}
        assert set(left.excluded) == set(whole.excluded) - {concept}
    assert [chip.without for chip in chips if chip.kind == "read"] == [text] * len(whole.corrected)


def test_where_nothing_is_understood_there_is_no_chip() -> None:
    assert chips_of(understand("strange words")) == []
