"""A query becomes ranked hits."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roco_search.errors import InputError, LibraryEmpty, ModelMismatch
from roco_search.imaging import open_image
from roco_search.library import Library, Mode
from roco_search.search import Filters, Term, named_in, read_query
from roco_search.search import search as search_all
from roco_search.search.terms import steer, unit
from roco_search.vocabulary import image_classes
from tests.collection import Expected, every, fill, found
from tests.imaging.drawing import shipped
from tests.library.toy import Opened, ToyEncoder, draw, draw_pages

search = partial(search_all, cosine=True)
"""By the cosine alone, which these tests compute on their own; tests of the evidence are in `test_evidence.py`."""

EVERY: dict[str, Any] = {"group_by": "none", "fold": False}


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Opened]:
    scans = tmp_path / "scans"
    for number in range(8):
        draw(scans / f"{number}.png", number)
    shutil.copy(draw(scans / "9a.png", 50), scans / "9b.png")
    draw_pages(scans / "pages.tiff", range(30, 35))
    shutil.copy(shipped("CT_small.dcm"), scans / "ct")
    with Opened(tmp_path / "library", ToyEncoder()) as opened:
        opened.index(scans, frames="all")
        yield opened


def test_hits_are_what_sorting_all_vectors_gives(filled: Opened) -> None:
    sql = """
        SELECT frames.id, path, number, vector FROM vectors
        JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id
    """
    query = filled.encoder.encode_texts(["pleural effusion"])[0].astype(np.float64)
    rows = [
        (i, p, f, float((np.frombuffer(v, "<f4").astype(np.float64) * query).sum())) for i, p, f, v in filled.rows(sql)
    ]
    rows.sort(key=lambda row: (-np.float32(row[3]), row[0]))
    for mode in ("exact", "approximate"):
        hits = search(filled.library, filled.encoder, ["pleural effusion"], n=99, mode=mode, **EVERY)
        assert [hit.rank for hit in hits] == list(range(1, 17))
        assert [(hit.path, hit.frame) for hit in hits] == [(path, frame) for _, path, frame, _ in rows]
        np.testing.assert_allclose([hit.score for hit in hits], [score for *_, score in rows], atol=1e-6)
    assert search(filled.library, filled.encoder, ["pleural effusion"], n=3, **EVERY) == hits[:3]


def test_what_is_left_out_is_no_hit_and_the_rest_moves_up(filled: Opened) -> None:
    vector = filled.encoder.encode_texts(["pleural effusion"])[0]
    every_hit = search(filled.library, filled.encoder, vector=vector, n=99, **EVERY)
    ids = {(frame.path, frame.frame): frame.id for frame in filled.library.frames.get(range(99)).values()}
    without = np.array([ids[hit.path, hit.frame] for hit in (every_hit[0], every_hit[3])])
    hits = search(filled.library, filled.encoder, vector=vector, without=without, n=99, **EVERY)
    kept = [hit for hit in every_hit if hit not in (every_hit[0], every_hit[3])]
    assert [(hit.path, hit.frame, hit.score) for hit in hits] == [(hit.path, hit.frame, hit.score) for hit in kept]
    assert [hit.rank for hit in hits] == list(range(1, len(kept) + 1))


def test_a_hit_tells_what_the_header_says(filled: Opened) -> None:
    hits = {Path(hit.path).name: hit for hit in search(filled.library, filled.encoder, ["ct"], n=99)}
    ct = hits["ct"]
    assert (ct.modality, ct.frame, ct.frames, ct.rows, ct.columns) == ("CT", 0, 1, 128, 128)
    assert ct.series is not None
    assert hits["0.png"].modality is None and hits["0.png"].series is None
    assert hits["pages.tiff"].frames == 5


def test_equal_pictures_come_in_the_order_of_the_scan(filled: Opened) -> None:
    hits = search(filled.library, filled.encoder, ["anything"], n=99, **EVERY)
    names = [Path(hit.path).name for hit in hits]
    assert names.index("9b.png") == names.index("9a.png") + 1
    assert len({hit.score for hit in hits if Path(hit.path).name in {"9a.png", "9b.png"}}) == 1


def test_picture_finds_itself(filled: Opened) -> None:
    path = filled.paths()[4]
    [frame] = open_image(path)
    [best] = search(filled.library, filled.encoder, vector=5 * filled.encoder.encode_one(frame.pixels)[0], n=1)
    assert best.path == path and best.score == pytest.approx(1, abs=1e-6)


def test_several_texts_are_averaged(filled: Opened) -> None:
    vectors = filled.encoder.encode_texts(["lung nodule", "nodule of the lung"])
    one = search(filled.library, filled.encoder, ["lung nodule", "nodule of the lung"])
    other = search(filled.library, filled.encoder, vector=vectors.mean(axis=0))
    assert one == other and len(one) == 10


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Opened, Path]]:
    place = tmp_path_factory.mktemp("large")
    with Opened(place / "library", ToyEncoder()) as opened:
        fill(opened, place / "scans")
        # Opened again: the matrix on disk is of a library with one picture, and has to be found out.
        opened.library.close()
        opened.library = Library.open(place / "library")
        yield opened, place / "scans"


def test_filters_groups_and_pages_are_what_exhaustive_computation_gives(large: tuple[Opened, Path]) -> None:
    opened, root = large
    expected = Expected.of(opened)
    assert len(expected.rows) > 150
    query = unit(opened.encoder.encode_texts(["pleural effusion"]))
    seen = set()
    for choice in every(
        modality=[(), ("ct",), ("CT", "mr")], body_part=[(), ("Chest",)], view=[(), ("LATERAL",)],
        under=[(), (root / "2024",)], path=[(), ("*axial*", "*/x?.dcm")],
    ):  # fmt: skip
        filters = Filters(**choice)
        for rest in every(
            group_by=["series", "study", "file", "none"], fold=[True, False], min_score=[None, 0.05],
            page=[(10, 7), (1000, 0)],
        ):  # fmt: skip
            n, offset = rest.pop("page")
            asked: dict[str, Any] = {"filters": filters, "n": n, "offset": offset, **rest}
            hits = found(search(opened.library, opened.encoder, ["pleural effusion"], **asked))
            assert hits == expected.hits(query, **asked), asked
            seen.add((len(hits), any(hit[4] for hit in hits), any(hit[5] for hit in hits)))
    assert {length for length, *_ in seen} >= {0, 10}, "some pages are full, some empty"
    assert (10, True, True) in seen, "some hits stand for others"


@pytest.mark.parametrize("mode", ["exact", "approximate"])
def test_both_paths_give_ten_whenever_ten_exist(large: tuple[Opened, Path], mode: Mode) -> None:
    opened, root = large
    expected = Expected.of(opened)
    for number in range(20):
        query = unit(opened.encoder.encode_texts([f"query {number}"]))
        for choice in every(
            filters=[Filters(), Filters(modality=("CT",)), Filters(under=(root / "2024/deep",), view=("PA",))],
            group_by=["series", "study"],
        ):  # fmt: skip
            hits = search(opened.library, opened.encoder, vector=query, fold=True, mode=mode, **choice)
            assert found(hits) == expected.hits(query, fold=True, **choice)


def test_without_a_word_hits_are_grouped_and_folded_as_the_command_does(large: tuple[Opened, Path]) -> None:
    opened, _ = large
    ask = partial(search, opened.library, opened.encoder, ["CT"])
    assert ask(n=10) == ask(n=10, group_by="series", fold=True) != ask(n=10, **EVERY)


def test_pages_join_to_the_whole(large: tuple[Opened, Path]) -> None:
    opened, _ = large
    ask = partial(search, opened.library, opened.encoder, ["CT"], group_by="series", fold=True)
    whole = [(hit.rank, hit.path, hit.frame) for hit in ask(n=1000)]
    pages = [(hit.rank, hit.path, hit.frame) for page in range(0, len(whole) + 7, 7) for hit in ask(n=7, offset=page)]
    assert pages == whole and len(whole) > 14


def test_everything_can_be_listed(large: tuple[Opened, Path]) -> None:
    opened, _ = large
    hits = search(opened.library, opened.encoder, ["CT"], n=100_000)
    assert sorted((hit.path, hit.frame) for hit in hits) == sorted(
        (row["path"], row["frame"]) for row in Expected.of(opened).rows
    )


def test_guesses_fill_in_what_headers_leave_open(large: tuple[Opened, Path]) -> None:
    opened, _ = large
    expected = Expected.of(opened)
    data = {name: [entry for entry in image_classes(name) if entry.terms] for name in ("modality", "body_part")}
    guessed: dict[str, list[set[str]]] = {}
    for attribute, entries in data.items():
        centres = [opened.encoder.encode_texts(entry.prompts).mean(axis=0) for entry in entries]
        nearest = (expected.matrix @ np.stack([centre / np.linalg.norm(centre) for centre in centres]).T).argmax(axis=1)
        guessed[attribute] = [set(entries[number].terms) for number in nearest]
    shown = {entry.terms[0] for entry in data["modality"]}
    query = unit(opened.encoder.encode_texts(["lung"]))
    for choice in every(modality=[(), ("CT",), ("CR", "US")], body_part=[(), ("chest",), ("LUNG",)]):
        filters = Filters(**choice)
        hits = search(opened.library, opened.encoder, ["lung"], filters=filters, guess=True, n=500)
        assert found(hits) == expected.hits(query, filters=filters, guessed=guessed, group_by="none", fold=False, n=500)
        rows = {(row["path"], row["frame"]): number for number, row in enumerate(expected.rows)}
        for hit in hits:
            number = rows[hit.path, hit.frame]
            row = expected.rows[number]
            assert (hit.modality_guessed, hit.body_part_guessed) == (row["modality"] is None, row["body_part"] is None)
            assert hit.modality == (row["modality"] or hit.modality) and hit.modality in shown | {row["modality"]}
            assert row["modality"] or hit.modality in guessed["modality"][number]
            assert row["body_part"] or hit.body_part in guessed["body_part"][number]
    assert all(
        hit.modality is None or not hit.modality_guessed for hit in search(opened.library, opened.encoder, ["x"])
    )


def test_an_image_finds_others_and_its_copies_but_not_the_very_file(filled: Opened, tmp_path: Path) -> None:
    expected = Expected.of(filled)
    for path in [Path(path) for path in filled.paths() if not path.endswith("tiff")]:
        query = filled.encoder.encode_one(next(open_image(path)).pixels)[0]
        asked: dict[str, Any] = {"filters": Filters(), "group_by": "none", "fold": False, "n": 99}
        before = len(filled.encoder.batches)
        hits = found(search(filled.library, filled.encoder, [path], **asked))
        assert len(filled.encoder.batches) == before, "what the library holds is not embedded again"
        right = expected.hits(query, own=path, **asked)
        assert [hit[:3] for hit in hits] == [hit[:3] for hit in right]
        np.testing.assert_allclose([hit[3] for hit in hits], [hit[3] for hit in right], atol=1e-5)
        assert str(path) not in {hit[1] for hit in hits}
    copy = shutil.copy(filled.paths()[0], tmp_path / "elsewhere")
    best, *_ = search(filled.library, filled.encoder, [Path(copy)], n=99)
    assert best.path == filled.paths()[0] and best.score == pytest.approx(1, abs=1e-6), "asked for from elsewhere"
    assert named_in(filled.library, [Term(Path(copy)), Term("x"), Term(Path(best.path))]) == [Path(best.path)]
    stranger = draw(tmp_path / "stranger.png", 77)
    others = search(filled.library, filled.encoder, [stranger], n=99, **EVERY)
    assert len(others) == 16 and len(filled.encoder.batches) > before


def test_an_image_that_changed_is_embedded_as_it_is_now(filled: Opened) -> None:
    path = Path(filled.paths()[0])
    draw(path, 999)
    wanted = filled.encoder.encode_one(next(open_image(path)).pixels)[0]
    hits = search(filled.library, filled.encoder, [path], n=99)
    assert str(path) not in {hit.path for hit in hits}
    assert [hit.path for hit in hits] == [
        hit.path for hit in search(filled.library, filled.encoder, vector=wanted, n=99) if hit.path != str(path)
    ]


def test_terms_are_added_by_their_weights(filled: Opened) -> None:
    image = Path(filled.paths()[3])
    texts = filled.encoder.encode_texts(["lung nodule", "calcified"])
    vector = texts[0] - 0.25 * texts[1] + 0.5 * filled.encoder.encode_one(next(open_image(image)).pixels)[0]
    terms = [Term("lung nodule"), Term(image, 0.5), Term("calcified", -0.25)]
    hits = search(filled.library, filled.encoder, terms, n=99)
    right = [hit for hit in search(filled.library, filled.encoder, vector=vector, n=99) if hit.path != str(image)]
    assert [(hit.path, hit.frame) for hit in hits] == [(hit.path, hit.frame) for hit in right]
    np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in right], atol=1e-5)


def test_words_of_a_command_line_become_terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = draw(Path("ref.png"), 1)
    draw(Path("lung"), 1)
    Path("chest").mkdir()
    assert read_query(["pleural", "effusion"]) == [Term("pleural effusion")]
    assert read_query(["chest", "and/or", "ref.png", "spine"]) == [Term("chest and/or spine"), Term(image)]
    assert read_query(["lung"]) == [Term(Path("lung"))]
    assert read_query(["lung"], ["ref.png"], text=True) == [Term("lung"), Term("ref.png")]
    assert read_query([], ["0.5:./ref.png", "nodule"], [".25:3:00 film"]) == [
        Term(Path("ref.png"), 0.5), Term("nodule"), Term("3:00 film", -0.25),
    ]  # fmt: skip
    for word in ("./missing", "missing.PNG", "/nowhere/x", "~/nothing.dcm", "../x"):
        with pytest.raises(InputError, match=r"There is no file .*`text=True`"):
            read_query([word])
    with pytest.raises(InputError, match="is a folder"):
        read_query(["./chest"])
    for weight in ("0:x", "-1:x", "1e999:x"):
        with pytest.raises(InputError, match="not above zero"):
            read_query([], [weight])
    for bad in (Term, lambda text: read_query([], [text])):
        with pytest.raises(InputError, match="roco query"):
            bad(" ")
    with pytest.raises(InputError, match="UTF-8"):
        read_query(["\udcff"])
    assert read_query(["x" * 5000, "a\0b"]) == [Term("x" * 5000 + " a\0b")]


def test_bad_conditions_are_refused_in_words(large: tuple[Opened, Path], tmp_path: Path) -> None:
    opened, root = large
    for filters, says in (
        (Filters(modality=("ct", "XX")), r"modality 'XX'; it has CR \(\d+\), CT \(\d+\), MR \(\d+\). .*`guess=True`"),
        (Filters(body_part=("knee",)), r"body part 'knee'; it has CHEST \(\d+\), HEAD"),
        (Filters(view=("AP",)), r"view 'AP'; it has LATERAL \(\d+\), PA \(\d+\). Give one of these\."),
        (Filters(under=(root / "2025",)), f"no image under .*2025; it was made from {root}"),
    ):
        with pytest.raises(InputError, match=says):
            search(opened.library, opened.encoder, ["x"], filters=filters)
    with pytest.raises(InputError, match="modality 'XX'"):
        search(opened.library, opened.encoder, ["x"], filters=Filters(modality=("XX",)), guess=True)
    with pytest.raises(InputError, match="cancel out"):
        search(opened.library, opened.encoder, [Term("x", 2.0), Term("x", -2.0)])
    with pytest.raises(InputError, match="0 or more"):
        search(opened.library, opened.encoder, ["x"], offset=-1)
    with pytest.raises(InputError, match="changes nothing"):
        Term("x", 0.0)
    notes = tmp_path / "notes.png"
    notes.write_text("no image")
    with pytest.raises(InputError, match=f"{notes} is no image to search with: not a picture"):
        search(opened.library, opened.encoder, [notes])
    with pytest.raises(InputError, match="cannot be read"):
        search(opened.library, opened.encoder, [tmp_path / "gone.png"])


SCANS = Path(__file__).parents[3] / "shared" / "scans"


@pytest.mark.slow
@pytest.mark.skipif(not SCANS.exists(), reason="the real scans are not beside this checkout")
def test_real_scans_are_found_as_exhaustive_computation_finds_them(tmp_path: Path) -> None:
    with Opened(tmp_path / "library", ToyEncoder(dim=64)) as opened:
        opened.index(SCANS, frames=2)
        expected = Expected.of(opened)
        images = [sorted((SCANS / "png").rglob("*.png"))[70], SCANS / "dicom" / "dcm_qa_ct" / "12.dcm"]
        for choice in every(
            image=images, modality=[(), ("mr", "us")], body_part=[(), ("head",)],
            under=[(), (SCANS / "dicom",), (SCANS / "png", SCANS / "dicom" / "dcm_qa_ct")], path=[(), ("*_data*",)],
            group_by=["series", "study", "file", "none"], fold=[True, False], page=[(10, 5)],
        ):  # fmt: skip
            image, (n, offset) = choice.pop("image"), choice.pop("page")
            shape = {"group_by": choice.pop("group_by"), "fold": choice.pop("fold"), "n": n, "offset": offset}
            asked: dict[str, Any] = {"filters": Filters(**choice), **shape}
            path = os.path.realpath(image)
            [row] = {
                number for number, row in enumerate(expected.rows) if row["path"] == path and row["frame"] in {0, 1}
            }  # fmt: skip
            hits = found(search(opened.library, opened.encoder, [image], **asked))
            right = expected.hits(unit(expected.matrix[row]), own=image, **asked)
            assert hits == right, (image, asked)


def test_bad_queries_are_refused_in_words(filled: Opened, tmp_path: Path) -> None:
    for texts in ([], [" "], "bare string"):
        with pytest.raises(InputError, match="roco query"):
            search(filled.library, filled.encoder, texts)
    with pytest.raises(InputError, match="at least 1"):
        search(filled.library, filled.encoder, ["x"], n=0)
    with pytest.raises(InputError, match="24 values"):
        search(filled.library, filled.encoder, vector=np.ones(7, np.float32))
    with pytest.raises(InputError, match="rephrase it"):
        search(filled.library, filled.encoder, vector=np.zeros(24, np.float32))
    with pytest.raises(ModelMismatch, match="--reembed --model other"):
        search(filled.library, ToyEncoder(seed=3, name="other"), ["x"])
    with Library.create_or_open(tmp_path / "empty") as empty, pytest.raises(LibraryEmpty, match="roco index PATH"):
        search(empty, filled.encoder, ["x"])


def test_feedback_moves_a_query_as_rocchio_does() -> None:
    rng = np.random.default_rng(0)
    asked, *images = [unit(row) for row in rng.normal(size=(5, 16))]
    by_hand = asked + (images[0] + images[1]) / 2 - 0.5 * (images[2] + images[3]) / 2
    moved = steer([asked], images[:2], images[2:])
    assert moved == pytest.approx(by_hand / np.linalg.norm(by_hand), abs=1e-6)
    assert steer([asked], [], []) == pytest.approx(asked, abs=1e-6)
    assert moved @ images[0] > asked @ images[0] and moved @ images[2] < asked @ images[2]
    with pytest.raises(InputError, match="press plus"):
        steer([], [], images)
