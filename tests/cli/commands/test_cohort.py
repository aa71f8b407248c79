"""``roco cohort``: save, compare, export, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.cli.conftest import Roco


def test_a_cohort_from_the_first_word_to_the_export(roco: Roco, scans: Path, tmp_path: Path) -> None:
    assert roco("index", scans).code == 3  # one file is broken
    assert roco("cohort", "list").err.startswith("This library has no cohort yet")
    saved = roco("cohort", "save", "heads", "head", "CT", "--limit", "2", "--json").json
    assert (saved["images"], saved["definition"]["query"]) == (2, "head CT")
    assert roco("cohort", "save", "drawn", "--path", "*.png").code == 0
    assert [found["name"] for found in roco("cohort", "list", "--json").json] == ["drawn", "heads"]
    [member] = roco("cohort", "show", "drawn", "--json").json["members"]
    assert member["path"] == str(scans / "ramp.png") and member["score"] is None

    Image.radial_gradient("L").save(scans / "new.png")
    roco("index", scans)
    changes = roco("cohort", "diff", "drawn", "--json").json
    assert [Path(found["path"]).name for found in changes["came"]] == ["new.png"] and changes["stayed"] == 1
    shown = roco("cohort", "diff", "drawn")
    assert "would be added: 1" in shown.out and "new.png" in shown.out
    assert roco("cohort", "refresh", "drawn", "--json").json == changes
    assert roco("cohort", "diff", "drawn", "--json").json["came"] == []

    done = roco("cohort", "export", "drawn", tmp_path / "out", "--layout", "csv", "--json", "--quiet").json
    assert done["images"] == 2 and set(done["splits"]) == {"train", "test"}
    again = roco("cohort", "export", "drawn", tmp_path / "out")
    assert again.code == 1 and "nothing is overwritten" in again.err
    assert roco("cohort", "remove", "drawn").code == 0
    missing = roco("cohort", "show", "drawn")
    assert missing.code == 1 and "(the library has heads)" in missing.err


def test_what_cannot_be_is_refused_with_a_flag(roco: Roco, scans: Path, tmp_path: Path) -> None:
    roco("index", scans)
    for arguments, flag in (
        (["save", "x"], "--modality"),
        (["save", "x", "CT", "--match", "splendid"], "weak, fair or strong"),
        (["save", "a/b", "CT"], "letters"),
        (["save", "x", "--path", "*", "--group-by", "colour"], "--group-by"),
    ):
        refused = roco("cohort", *arguments)
        assert refused.code in {1, 2} and flag in refused.err
    assert roco("cohort", "save", "all", "--path", "*").code == 0
    assert "--overwrite" in roco("cohort", "save", "all", "--path", "*").err
    for options, flag in (
        (["--layout", "pickles"], "imagefolder"),
        (["--format", "bmp"], "png or files"),
        (["--deidentify", "--format", "files"], "--deidentify"),
        (["--test", "0.7", "--validation", "0.7"], "0.1"),
    ):
        refused = roco("cohort", "export", "all", tmp_path / "out", *options)
        assert refused.code == 1 and flag in refused.err
    assert not (tmp_path / "out").exists()
