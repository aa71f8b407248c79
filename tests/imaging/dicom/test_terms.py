"""The tables are the standard's own, as pydicom and highdicom publish them; what is added by hand is not in them."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from roco_search.imaging.dicom import terms
from roco_search.imaging.dicom.tags import body_part, view_position

SCRIPT = Path(__file__).parents[3] / "scripts" / "tables.py"


@pytest.mark.skipif(find_spec("highdicom") is None, reason="highdicom is not installed; pip install '.[dev]'")
def test_the_tables_are_what_pydicom_and_highdicom_publish() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(find_spec("highdicom") is None, reason="highdicom is not installed; pip install '.[dev]'")
def test_an_edited_table_is_noticed(tmp_path: Path) -> None:
    """The script is run on a copy of the checkout in which somebody has removed a term by hand."""
    script, package = tmp_path / "scripts" / "tables.py", tmp_path / "roco_search"
    table, names = package / "imaging" / "dicom" / "terms.json", package / "vocabulary" / "modalities.json"
    for path in (script, table, names):
        path.parent.mkdir(parents=True)
    script.write_bytes(SCRIPT.read_bytes())
    original = Path(terms.__file__).with_name("terms.json").read_bytes()
    table.write_bytes(original.replace(b'  "RUQ": "Right upper quadrant of abdomen",\n', b""))
    assert table.read_bytes() != original
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "run scripts/tables" in done.stderr
    subprocess.run([sys.executable, script], check=True)
    assert table.read_bytes() == original and json.loads(names.read_bytes()) == json.loads(original)["modalities"]


def test_table_l_1_is_whole() -> None:
    assert len(terms._TABLES["body_parts"]) == 317
    for term in ("RUQ", "LUMBAR", "THORACICAORTA", "ICA", "TRUNK", "PHANTOM"):
        assert body_part(term) == term


def test_what_is_added_by_hand_is_not_in_the_tables() -> None:
    assert not terms._UNLISTED_BODY_PARTS & terms._TABLES["body_parts"].keys()
    assert not terms._NEWER_MODALITIES & terms._TABLES["modalities"].keys()
    assert not terms._NEWER_PHOTOMETRIC & set(terms._TABLES["photometric_interpretations"])
    assert not terms._UNLISTED_VIEWS & terms._VIEW_CODES.keys()
    assert set(terms._VIEW_CODES.values()) <= set(terms._TABLES["views"]), "every code means a view of the standard"


def test_every_term_and_every_alias_gives_a_term() -> None:
    for text in (*terms.BODY_PARTS, *terms.BODY_PART_ALIASES, *terms._TABLES["body_parts"].values()):
        assert body_part(text) in terms.BODY_PARTS
    for text in (*terms.VIEWS, *terms.VIEW_ALIASES, *terms._TABLES["views"]):
        assert view_position(text) in terms.VIEWS


@pytest.mark.parametrize("retired", ["DS", "MA", "CF", "VF", "ST"])
def test_retired_modalities_are_known(retired: str) -> None:
    assert retired in terms.MODALITIES
