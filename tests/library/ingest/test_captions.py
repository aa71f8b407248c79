"""Texts beside images: which are read, whose they are, how they follow an image, and that they are forgotten whole."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from roco_search.errors import InputError
from roco_search.library import Library
from roco_search.library.ingest.folders import case_folders, class_folders
from tests.imaging.drawing import shipped
from tests.library.toy import Opened, draw

Write = Callable[[Path], object]


def texts(opened: Opened) -> dict[str, list[str]]:
    """The texts of each image by the name of its file."""
    library = opened.library
    ids = library.embedded().tolist()
    frames = library.frames.get(ids)
    return {Path(frames[frame_id].path).name: found for frame_id, found in library.captions.texts(ids).items()}


def named(opened: Opened, expression: str) -> list[str]:
    ids = opened.library.captions.matching(expression).tolist()
    return sorted(Path(frame.path).name for frame in opened.library.frames.get(ids).values())


def jsonl(path: Path, *rows: dict[str, object]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def parquet(path: Path, rows: list[dict[str, object]]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


SOURCES: dict[str, Write] = {
    "metadata.jsonl": lambda folder: jsonl(folder / "metadata.jsonl", {"file_name": "a.png", "text": "A cyst."}),
    "metadata.csv": lambda folder: (folder / "metadata.csv").write_text("file_name,text\na.png,A cyst.\n"),
    "metadata.parquet": lambda folder: parquet(
        folder / "metadata.parquet", [{"file_name": "a.png", "text": "A cyst."}]
    ),
    "a table of paths": lambda folder: (folder / "list.tsv").write_text("path\tcaption\na.png\tA cyst.\n"),
    "absolute paths": lambda folder: (folder / "list.csv").write_text(f"path,caption\n{folder / 'a.png'},A cyst.\n"),
    "a text": lambda folder: (folder / "a.txt").write_text("A cyst.\n"),
    "a text by the whole name": lambda folder: (folder / "a.png.txt").write_text("A cyst.\n"),
    "JSON": lambda folder: (folder / "a.json").write_text('{"caption": "A cyst.", "EchoTime": 3}'),
    "several captions": lambda folder: jsonl(folder / "x.jsonl", {"path": "a.png", "captions": ["Round", "A cyst."]}),
    "labels": lambda folder: jsonl(
        folder / "x.jsonl", {"path": "a.png", "labels": ["cyst", "benign"], "negatives": "b"}
    ),
}

ODD: dict[str, bytes] = {
    "half a pair": b'{"file_name": "a.png", "text": "cyst \\ud800"}',
    "a NUL": b'{"file_name": "a.png", "text": "cyst \\u0000 of the liver"}',
    "a number": b'{"file_name": "a.png", "text": 3, "title": "cyst"}',
    "nothing": b'{"file_name": "a.png", "text": null, "labels": ["cyst", null, 4.5]}',
    "an image that is not there": b'{"file_name": "a.png", "text": "cyst"}\n{"file_name": "gone.png", "text": "x"}',
    "quotes": b'{"file_name": "a.png", "text": "cyst \\" OR NOT ("}',
}


@pytest.mark.parametrize("odd", ODD)
def test_what_a_table_may_hold_besides(opened: Opened, scans: Path, odd: str) -> None:
    draw(scans / "a.png", 1)
    (scans / "metadata.jsonl").write_bytes(ODD[odd])
    assert opened.index(scans, captions=True).warnings == []
    assert named(opened, "cyst") == ["a.png"]
    assert opened.index(scans).captions == 0


def test_the_captions_of_roco_are_read_with_their_keywords(opened: Opened, scans: Path) -> None:
    part = scans / "data" / "test" / "radiology"
    for number in (1, 2):
        draw(part / "images" / f"ROCO_0000{number}.jpg", number)
    (part / "captions.txt").write_text("ROCO_00001\t A cyst.\nROCO_00002\t A mass.\nROCO_00003\t Gone.\n")
    (part / "keywords.txt").write_text("ROCO_00001\t\tround\tliver\n")
    assert opened.index(scans, captions=True).captions == 2
    assert texts(opened) == {"ROCO_00001.jpg": ["A cyst.\nround, liver"], "ROCO_00002.jpg": ["A mass."]}


@pytest.mark.parametrize("source", SOURCES)
def test_a_caption_is_found_by_its_words(opened: Opened, scans: Path, source: str) -> None:
    draw(scans / "a.png", 1)
    draw(scans / "b.png", 2)
    SOURCES[source](scans)
    silent = opened.index(scans)
    assert silent.captions == 0 and not opened.library.captions.any()
    assert len(silent.warnings) == (source != "metadata.parquet" or 1)
    assert "`captions=True`" in silent.warnings[0]
    report = opened.index(scans, captions=True)
    assert (report.captions, report.warnings) == (1, [])
    assert named(opened, "CYST") == ["a.png"]
    assert "cyst" in texts(opened)["a.png"][0].casefold()
    assert opened.index(scans).captions == 0  # it is remembered, and nothing has changed


def test_folders_named_after_a_class_are_captions_of_last_resort(opened: Opened, scans: Path) -> None:
    for number, folder in enumerate(["BrainTumor", "BrainTumor", "no_tumor", "images", "images"]):
        draw(scans / folder / f"{number}.png", number)
    (scans / "BrainTumor" / "0.txt").write_text("A glioma.")
    opened.index(scans, captions=True)
    assert texts(opened) == {"0.png": ["A glioma."], "1.png": ["Brain Tumor"], "2.png": ["no tumor"]}
    assert named(opened, "tumor") == ["1.png", "2.png"]


def test_what_is_denied_is_told_apart(opened: Opened, scans: Path) -> None:
    for name, text in {"a": "Effusion on the left.", "b": "No effusion.", "c": "The effusion has resolved."}.items():
        draw(scans / f"{name}.png", ord(name))
        (scans / f"{name}.txt").write_text(text)
    opened.index(scans, captions=True)
    captions = opened.library.captions
    assert named(opened, "effusion") == ["a.png", "b.png", "c.png"]
    assert [
        frame.path[-5:] for frame in opened.library.frames.get(captions.matching("effusion", "affirmed")).values()
    ] == ["a.png"]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('"pleural effusion" NOT resolved', ["a"]),
        ("effus*", ["a", "b"]),
        ("x-ray (mass OR effusion)", ["a"]),
        ("éffusion", ["a", "b"]),
        ("effusion pleural", ["a", "b"]),
        ("text", []),
    ],
)
def test_conditions_on_words(opened: Opened, scans: Path, expression: str, found: list[str]) -> None:
    for name, text in {"a": "X-ray: pleural effusion", "b": "Pleural effusion, resolved"}.items():
        draw(scans / f"{name}.png", ord(name))
        (scans / f"{name}.txt").write_text(text)
    opened.index(scans, captions=True)
    assert named(opened, expression) == [f"{name}.png" for name in found]


@pytest.mark.parametrize("expression", ["NOT effusion", "effusion AND", "(effusion", "OR"])
def test_what_is_no_condition_is_refused_in_one_sentence(opened: Opened, scans: Path, expression: str) -> None:
    draw(scans / "a.png", 1)
    opened.index(scans)
    with pytest.raises(InputError, match="pleural effusion"):
        opened.library.captions.matching(expression)


def test_a_caption_follows_its_image(opened: Opened, scans: Path) -> None:
    draw(scans / "images" / "a.png", 1)
    draw(scans / "images" / "b.png", 2)
    jsonl(
        scans / "metadata.jsonl",
        {"file_name": "images/a.png", "text": "cyst"},
        {"file_name": "images/b.png", "text": "mass"},
    )
    opened.index(scans, captions=True)
    # The image moves, and the table still names the old place.
    (scans / "scans").mkdir()
    (scans / "images" / "a.png").rename(scans / "scans" / "c.png")
    assert opened.index(scans).moved == 1
    assert texts(opened) == {"c.png": ["cyst"], "b.png": ["mass"]}
    opened.index(scans)
    assert texts(opened) == {"c.png": ["cyst"], "b.png": ["mass"]}
    # The table changes; the image is what it was.
    jsonl(scans / "metadata.jsonl", {"file_name": "scans/c.png", "text": "round cyst"})
    assert opened.index(scans).captions == 1
    assert texts(opened) == {"c.png": ["round cyst"]}
    # Everything moves.
    os.rename(scans, moved := scans.with_name("archive"))  # noqa: PTH104
    opened.library.relocate(scans, moved)
    assert opened.index(moved).captions == 0
    assert texts(opened) == {"c.png": ["round cyst"]}
    # The table goes.
    (moved / "metadata.jsonl").unlink()
    opened.index(moved)
    assert texts(opened) == {}


def test_a_text_moves_with_its_image(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    (scans / "a.txt").write_text("cyst")
    opened.index(scans, captions=True)
    for ending in ("png", "txt"):
        (scans / f"a.{ending}").rename(scans / f"b.{ending}")
    opened.index(scans)
    assert texts(opened) == {"b.png": ["cyst"]}
    assert opened.rows("SELECT COUNT(*) FROM captions") == [(1,)]


def test_a_folder_that_vanished_keeps_its_captions(opened: Opened, scans: Path) -> None:
    for folder in ("one", "two"):
        draw(scans / folder / "a.png", len(folder))
        (scans / folder / "a.txt").write_text(f"cyst in {folder}")
    opened.index(scans / "one", scans / "two", captions=True)
    shutil.move(scans / "one", scans / "away")
    opened.index(scans / "one", scans / "two")
    assert opened.library.captions.count() == 2
    opened.index(scans / "two", captions=False)
    assert [text for (text,) in opened.rows("SELECT text FROM captions")] == ["cyst in one"]


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def traces(word: str) -> list[bytes]:
    """Each six letters of a word: FTS5 stores a word without the letters that it shares with the one before."""
    return [word[start : start + 6].encode() for start in range(len(word) - 5)]


SECRET = "qxzvkwjhyfgp"


@pytest.mark.parametrize(
    "way", ["remove a file", "remove the text", "the file is gone", "the text is gone", "no captions"]
)
def test_a_caption_is_forgotten_byte_by_byte(opened: Opened, scans: Path, way: str) -> None:
    for number in range(40):
        draw(scans / f"{number}.png", number)
        (scans / f"{number}.txt").write_text(
            f"{SECRET if number == 7 else 'cyst'} of kind {number:03} {'qxz' * number}"
        )
    opened.index(scans, captions=True)
    assert SECRET.encode() in on_disk(opened.directory)
    match way:
        case "remove a file":
            opened.library.remove(scans / "7.png")
        case "remove the text":
            opened.library.remove(scans / "7.txt")
        case "the file is gone":
            (scans / "7.png").unlink()
            opened.index(scans)
        case "the text is gone":
            (scans / "7.txt").write_text("cyst")
            opened.index(scans)
        case "no captions":
            opened.index(scans, captions=False)
    left = on_disk(opened.directory)
    assert not [part for part in traces(SECRET) if part in left]
    assert (b"kind 006" in left) == (way != "no captions")
    assert opened.library.verify().problems == []
    assert bool(named(opened, "cyst")) == (way != "no captions")


def test_a_damaged_source_is_named_and_forgets_nothing(opened: Opened, scans: Path) -> None:
    draw(scans / "a.png", 1)
    jsonl(scans / "metadata.jsonl", {"file_name": "a.png", "text": "cyst"})
    opened.index(scans, captions=True)
    (scans / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "cy\n')
    report = opened.index(scans)
    assert len(report.warnings) == 1 and "metadata.jsonl, line 1" in report.warnings[0]
    assert texts(opened) == {"a.png": ["cyst"]}
    (scans / "metadata.jsonl").unlink()
    (scans / "a.txt").write_bytes(b"\xff\xfe\xfa")
    assert "UTF-8" in opened.index(scans).warnings[0]


def structured_report(path: Path, study: str, text: str) -> None:
    dataset = dcmread(shipped("reportsi.dcm"))
    dataset.StudyInstanceUID = study
    section = Dataset()
    section.ValueType, section.TextValue = "TEXT", text
    dataset.ContentSequence = [section]
    dataset.save_as(path)


def pdf_report(path: Path, study: str, text: str) -> None:
    """Write a PDF with a text layer as DICOM."""
    page = b"BT /F1 12 Tf 20 100 Td (%s) Tj ET" % text.encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(page), page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    content, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(content))
        content += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(content),
    )
    dataset = dcmread(shipped("reportsi.dcm"))
    del dataset.ContentSequence
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.104.1")
    dataset.StudyInstanceUID, dataset.MIMETypeOfEncapsulatedDocument = study, "application/pdf"
    dataset.EncapsulatedDocument = content + end + b" " * (len(content + end) % 2)
    dataset.save_as(path)


@pytest.mark.parametrize("write", [structured_report, pdf_report])
def test_a_report_belongs_to_the_images_of_its_study(opened: Opened, scans: Path, write: Callable[..., None]) -> None:
    if write is pdf_report:
        pytest.importorskip("pypdf")
    shutil.copy(shipped("CT_small.dcm"), scans / "ct.dcm")
    shutil.copy(shipped("MR_small.dcm"), scans / "mr.dcm")
    write(scans / "report.dcm", dcmread(shipped("CT_small.dcm")).StudyInstanceUID, f"Effusion of {SECRET}")
    report = opened.index(scans, captions=True)
    assert not opened.library.captions.any() and "`reports=True`" not in " ".join(report.warnings)
    report = opened.index(scans, reports=True)
    assert report.captions == 1 and "name patients" in report.warnings[0]
    assert named(opened, "effusion") == ["ct.dcm"]
    assert opened.index(scans).captions == 0
    assert named(opened, "effusion") == ["ct.dcm"]
    opened.library.remove(scans / "report.dcm")
    assert not [part for part in traces(SECRET) if part in on_disk(opened.directory)]


def test_a_damaged_report_is_named_without_a_word_of_it(opened: Opened, scans: Path) -> None:
    shutil.copy(shipped("CT_small.dcm"), scans / "ct.dcm")
    pytest.importorskip("pypdf")
    pdf_report(scans / "report.dcm", dcmread(shipped("CT_small.dcm")).StudyInstanceUID, SECRET)
    (scans / "report.dcm").write_bytes((scans / "report.dcm").read_bytes().replace(b"%PDF-1.4", b"%XXF-0.0"[:8]))
    report = opened.index(scans, reports=True)
    assert SECRET not in " ".join(report.warnings)


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_library_opens_and_gets_captions_when_it_is_indexed(
    opened: Opened, scans: Path, version: int
) -> None:
    draw(scans / "a.png", 1)
    (scans / "a.txt").write_text("cyst")
    opened.index(scans)
    for statement in [*EARLIER, *FIRST] if version == 1 else EARLIER:
        opened.execute(statement)
    opened.library.close()
    with Library.open(opened.directory) as library:
        assert not library.captions.any() and library.captions.texts([1]) == {} and library.captions.words() == {}
        assert len(library.captions.matching("cyst")) == 0
        library.vacuum()
    with Opened(opened.directory, opened.encoder) as again:
        assert again.index(scans, captions=True).captions == 1
        assert again.library.verify().problems == []
        assert named(again, "cyst") == ["a.png"]


EARLIER = [
    *(f"DROP TRIGGER {name}" for name in ("captions_ai", "captions_ad", "captions_au")),
    *(f"DROP TABLE {name}" for name in ("caption_words", "captions_fts", "captions", "text_files")),
    *(f"DROP INDEX {name}" for name in ("files_by_case", "frames_by_study")),
    "ALTER TABLE files DROP COLUMN case_key",
    "ALTER TABLE roots DROP COLUMN texts",
    "DELETE FROM _sqlite_migrations WHERE name = 'm003_captions'",
    "PRAGMA user_version = 2",
]
FIRST = [  # what 0.1.0 wrote
    "ALTER TABLE embedding_sets DROP COLUMN arithmetic",
    "DELETE FROM _sqlite_migrations WHERE name = 'm002_arithmetic'",
    "PRAGMA user_version = 1",
]


def test_the_vocabulary_is_that_of_the_captions(opened: Opened, scans: Path) -> None:
    for name, text in {"a": "Pneumothorax, left", "b": "No pneumothorax"}.items():
        draw(scans / f"{name}.png", ord(name))
        (scans / f"{name}.txt").write_text(text)
    opened.index(scans, captions=True)
    captions = opened.library.captions
    assert captions.words() == {"pneumothorax": 2, "left": 1, "no": 1}
    assert captions.known(["left", "lef", "no"]) == {"left", "no"}


HASHES = ["1f9ab3c0de", "77ab09cc12", "0123abcdef"]


@pytest.mark.parametrize(
    ("folders", "cases"),
    [
        (["MPX1007", "MPX1009", "MPX1075"], {"MPX1007": "MPX1007", "MPX1009": "MPX1009", "MPX1075": "MPX1075"}),
        (["p_1/series_1", "p_2", "p_3/a"], {"p_1/series_1": "p_1", "p_2": "p_2", "p_3/a": "p_3"}),
        (["MPX1007", "MPX1009"], {}),
        (["grade_1", "grade_2", "grade_3"], {}),
        (["0", "1", "2", "3"], {}),
        (["normal", "benign", "malignant"], {}),
        (["nih_cxr14", "nih_kcr64", "hc18_us"], {}),
        (HASHES, dict(zip(HASHES, HASHES, strict=True))),
    ],
)  # fmt: skip
def test_folders_that_are_cases(folders: list[str], cases: dict[str, str]) -> None:
    found = case_folders([f"/scans/{folder}" for folder in folders], ["/scans"])
    assert found == {f"/scans/{folder}": f"/scans/{case}" for folder, case in cases.items()}


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["PNEUMONIA", "NORMAL"], ["PNEUMONIA", "NORMAL"]),
        (["no_tumor", "glioma-tumor"], ["no tumor", "glioma tumor"]),
        (["Covid19", "ViralPneumonia"], ["Covid19", "Viral Pneumonia"]),
        (["train", "test"], []),
        (["patient_0012", "patient_0013"], []),
        (["normal"], []),
        (["bengin cases", "Malignant cases", "Normal cases"], ["bengin cases", "Malignant cases", "Normal cases"]),
        (["pydicom_data", "pylibjpeg_data", "dcm_qa_ct"], []),
    ],
)
def test_folders_that_are_classes(folders: list[str], names: list[str]) -> None:
    found = class_folders([f"/scans/{folder}" for folder in folders], ["/scans"])
    assert sorted(found.values()) == sorted(names)
