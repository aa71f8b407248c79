"""Conditions on columns."""

from __future__ import annotations

import pytest

from roco_search.datasets.columns import parse_conditions, select_rows
from roco_search.errors import InputError
from tests.datasets.drawing import row

ROWS = [
    row("1", source="medpix2", modality="CT", labels=["Axial", "Brain"], age=40, group="Doe"),
    row("2", source="medpix2", modality="MR", labels=["Sagittal"], age=41.0, group="Roe"),
    row("3", source="nih", modality="XR", labels=[], age=None, group="Roe"),
]


def chosen(*conditions: str) -> list[str]:
    return [found.name for found in select_rows(ROWS, parse_conditions(conditions), "the split dev of ./d")]


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ((), ["1", "2", "3"]),
        (("source=medpix2",), ["1", "2"]),
        (("source = MedPix2 ",), ["1", "2"]),
        (("Source=medpix2",), ["1", "2"]),
        (("modality=CT", "modality=XR"), ["1", "3"]),
        (("source=medpix2", "modality=XR", "modality=MR"), ["2"]),
        (("labels=brain",), ["1"]),
        (("age=40",), ["1"]),
        (("age=41",), ["2"]),
    ],
)
def test_rows_that_meet_them(conditions: tuple[str, ...], names: list[str]) -> None:
    assert chosen(*conditions) == names


def test_a_mapping_does_too() -> None:
    assert parse_conditions({"source": "a=b"}) == {"source": ["a=b"]}


def test_an_unknown_column_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no column 'sorce' in the split dev of \./d; it has source, modality, "):
        chosen("sorce=medpix2")


def test_an_unknown_value_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"has source=mimic; name one of medpix2 \(2\), nih \(1\)\.$"):
        chosen("source=mimic")


def test_a_case_may_be_a_patient_and_is_not_named() -> None:
    with pytest.raises(InputError, match="the column has 2 others") as refused:
        chosen("group=Poe")
    assert "Doe" not in str(refused.value) and "Roe" not in str(refused.value)


def test_conditions_that_exclude_each_other() -> None:
    with pytest.raises(InputError, match="source=nih and modality=CT or MR together"):
        chosen("source=nih", "modality=CT", "modality=MR")


@pytest.mark.parametrize("condition", ["source", "=medpix2", ""])
def test_what_is_no_condition_is_refused(condition: str) -> None:
    with pytest.raises(InputError, match="write it as COLUMN=VALUE"):
        chosen(condition)
