"""How much of a query captions affirm, against a computation on their words; and the part of a text that is shown."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.errors import InputError
from roco_search.search import Filters, search
from roco_search.search.captions import SEEN, UNNEEDED, Asked, asked_of, caption_scores, said_by_captions, snippet
from roco_search.search.understanding import understand
from tests.library.toy import Opened, ToyEncoder, draw

TEXTS = [
    "Chest X-ray with a pleural effusion.",
    "Chest X-ray, no pleural effusion.",
    "CT of the chest: pleural effusions and a mass",
    "CT of the head.",
    "Pneumothorax",
    "",
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    place = tmp_path_factory.mktemp("said")
    for number, text in enumerate(TEXTS):
        draw(place / "scans" / f"{number}.png", number)
        if text:
            (place / "scans" / f"{number}.txt").write_text(text)
    with Opened(place / "library", ToyEncoder()) as opened:
        opened.index(place / "scans", captions=True)
        yield opened


def by_name(opened: Opened, ids: np.ndarray, scores: np.ndarray) -> dict[int, float]:
    frames = opened.library.frames.get(ids.tolist())
    return {int(Path(frames[i].path).stem): float(s) for i, s in zip(ids.tolist(), scores, strict=True)}


EFFUSION, CHEST, XRAY, CT = Asked(("pleural effusion",)), Asked(("chest", "thorax")), Asked(("x-ray",)), Asked(("ct",))


@pytest.mark.parametrize(
    ("wanted", "affirming", "excluded"),
    [
        ([EFFUSION], [{0, 2}], []),
        ([EFFUSION, CT], [{0, 2}, {2, 3}], []),
        ([CHEST, XRAY, EFFUSION], [{0, 1, 2}, {0, 1}, {0, 2}], []),
        ([CHEST], [{0, 1, 2}], [({2}, Asked(("mass",)))]),
        ([Asked(("kidney stone",)), CHEST], [set(), {0, 1, 2}], []),
        ([EFFUSION, CHEST._replace(needed=False)], [{0, 2}, {0, 1, 2}], []),
        ([CHEST._replace(needed=False), XRAY._replace(needed=False)], [{0, 1, 2}, {0, 1}], []),
    ],
)
def test_rare_words_count_for_more(
    said: Opened, wanted: list[Asked], affirming: list[set[int]], excluded: list[tuple[set[int], Asked]]
) -> None:
    ids, scores, named = caption_scores(said.library, wanted, [asked for _, asked in excluded])
    found = by_name(said, ids, scores)
    assert [set(by_name(said, some, np.ones(len(some), np.float32))) for some in named] == affirming
    count = len([text for text in TEXTS if text])
    weights = [
        math.log((count + 1) / (len(numbers) + 0.5)) if asked.needed else UNNEEDED
        for asked, numbers in zip(wanted, affirming, strict=True)
    ]
    for number in range(count):
        share = sum(w for w, numbers in zip(weights, affirming, strict=True) if number in numbers) / sum(weights)
        ruled_out = any(number in numbers for numbers, _ in excluded)
        # "X-ray coronary angiography" says nothing of a chest X-ray, and "chest X-ray" nothing of an effusion in one.
        ruled_out |= share < 1 and not any(
            number in numbers for asked, numbers in zip(wanted, affirming, strict=True) if asked.needed
        )
        assert found.get(number, 0) == pytest.approx(0 if ruled_out else share, abs=1e-6)
    assert set(found) <= set(range(count)), "an image without a text is not judged by its text"


def test_a_caption_outweighs_the_picture_only_where_the_picture_does_not_show_what_is_asked(said: Opened) -> None:
    plain = said_by_captions(said.library, understand("chest x-ray"))
    finding = said_by_captions(said.library, understand("pleural effusion"))
    assert plain is not None and finding is not None
    assert plain.values.max() == pytest.approx(SEEN) and finding.values.max() == pytest.approx(1)


def test_what_the_picture_says_too_counts_for_little(said: Opened) -> None:
    rare = Asked(("angiogram",))
    needed, unneeded = (
        by_name(said, *caption_scores(said.library, [EFFUSION, rare._replace(needed=needed)])[:2])[0]
        for needed in (True, False)
    )
    assert needed < 0.5 < unneeded < 1


def test_a_condition_on_words_is_a_filter(said: Opened, tmp_path: Path) -> None:
    def names(**filters: object) -> list[str]:
        chosen = Filters(text_match='"pleural effusion" NOT mass', **filters)  # type: ignore[arg-type]
        return sorted(Path(hit.path).name for hit in search(said.library, said.encoder, ["x"], filters=chosen))

    assert names() == ["0.png", "1.png"]
    assert names(path=("*/1.png",)) == ["1.png"]
    draw(tmp_path / "scans" / "a.png", 1)
    with Opened(tmp_path / "library", ToyEncoder()) as without:
        without.index(tmp_path / "scans")
        with pytest.raises(InputError, match="roco index --captions"):
            search(without.library, without.encoder, ["x"], filters=Filters(text_match="mass"))


LONG = "The heart is normal. " * 10 + "There is a small pleural effusion on the left. " + "The ribs are intact. " * 10


def test_a_snippet_shows_what_was_found() -> None:
    assert snippet([], [EFFUSION]) is None
    assert snippet(["short"], [EFFUSION]) == "short"
    assert snippet(["Nothing here", "A pleural\n effusion"], [EFFUSION]) == "A pleural effusion"
    shown = snippet([LONG], [EFFUSION])
    assert shown is not None and "small pleural effusion on the left" in shown
    assert shown.startswith("…") and shown.endswith("…") and len(shown) <= 100
    assert "Pleuraerguß" in (snippet(["x " * 99 + "Röntgen: Pleuraerguß"], [Asked(("pleuraergu",), True)]) or "")


@given(st.text(max_size=400), st.integers(20, 120))
def test_a_snippet_is_one_short_line_of_the_text(text: str, most: int) -> None:
    shown = snippet([text], [Asked(("effusion",))], most)
    assert shown is not None and len(shown) <= max(most, 1) + 1 and "\n" not in shown
    assert shown.strip("…") in " ".join(text.split())


def test_a_normal_picture_is_one_of_which_no_finding_is_affirmed(tmp_path: Path) -> None:
    said = {
        "a": "Normal chest X-ray.",
        "b": "Chest X-ray, no finding.",
        "c": "Heart size is normal. Pleural effusion.",
        "d": "No effusion, unremarkable.",
    }
    for name, text in said.items():
        draw(tmp_path / "scans" / f"{name}.png", ord(name))
        (tmp_path / "scans" / f"{name}.txt").write_text(text)
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(tmp_path / "scans", captions=True)
        extra = said_by_captions(opened.library, understand("normal chest x-ray"))
        assert extra is not None
        frames = opened.library.frames.get(extra.ids.tolist())
        scores = {Path(frames[i].path).stem: float(v) for i, v in zip(extra.ids.tolist(), extra.values, strict=True)}
    assert scores["a"] == scores["b"] == 1 and scores["c"] == 0 < scores["d"]


@pytest.mark.parametrize("text", ["Röntgen Thorax Erguss", "cxr pleural effusion", "radiografía de tórax con derrame"])
def test_captions_are_found_in_any_language(said: Opened, text: str) -> None:
    extra = said_by_captions(said.library, understand(text))
    assert extra is not None
    found = by_name(said, extra.ids, extra.values)
    assert found[0] == max(found.values()) > found.get(1, 0)
    assert said_by_captions(said.library, understand("photo of a cat")) is None


def test_captions_and_pictures_are_ranked_together_or_each_alone(said: Opened) -> None:
    ask = partial(search, said.library, said.encoder, ["pleural effusion"], n=6, group_by="none", fold=False)
    both, pictures, captions = ask(), ask(pictures_only=True), ask(captions_only=True)
    names = [[int(Path(hit.path).stem) for hit in hits] for hits in (both, pictures, captions)]
    assert set(names[0][:2]) == set(names[2]) == {0, 2} and len(names[0]) == len(names[1]) == 6
    assert [piece.says for piece in both[0].evidence if piece.source == "caption"] == [
        {0: "Chest X-ray with a pleural effusion.", 2: "CT of the chest: pleural effusions and a mass"}[names[0][0]]
    ]
    assert not any(piece.source == "caption" for hit in pictures for piece in hit.evidence)
    # What a caption adds is all that is different.
    alone = {hit.path: hit.relevance or 0.0 for hit in pictures}
    for hit in both:
        added = sum(piece.adds for piece in hit.evidence if piece.source == "caption")
        before, after = (math.log(share / (1 - share)) for share in (alone[hit.path], hit.relevance or 0.0))
        assert after == pytest.approx(before + added, abs=1e-3)
    assert ask(captions_only=True, filters=Filters(path=("*/2.png",)))[0].path.endswith("2.png")
    assert search(said.library, said.encoder, ["kidney stone"], captions_only=True) == []


def test_captions_alone_need_captions_and_one_text(said: Opened, tmp_path: Path) -> None:
    draw(tmp_path / "scans" / "a.png", 1)
    with Opened(tmp_path / "library", ToyEncoder()) as without:
        without.index(tmp_path / "scans")
        with pytest.raises(InputError, match="roco index --captions"):
            search(without.library, without.encoder, ["mass"], captions_only=True)
    with pytest.raises(InputError, match="one text"):
        search(said.library, said.encoder, ["mass", "cyst"], captions_only=True)


def test_a_kind_of_a_kind_is_of_that_kind_too() -> None:
    (wanted,), _ = asked_of(understand("brain tumor"))
    assert {"brain tumor", "glioma", "glioblastoma", "hirntumor"} <= set(wanted.phrases)
    assert "pneumonia" not in wanted.phrases
