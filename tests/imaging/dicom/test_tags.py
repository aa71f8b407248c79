"""Nothing but defined terms, numbers and registered UIDs ever comes out of a header."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from roco_search.imaging import Tags
from roco_search.imaging.dicom import terms
from roco_search.imaging.dicom.header import WANTED
from roco_search.imaging.dicom.tags import PLANES, body_part, plane_of, read_tags, view_position
from tests.imaging.drawing import PATIENT, only, shipped

TEXTUAL = [
    keyword
    for keyword in (*WANTED, "PatientName", "StudyDescription", "ProtocolName")
    if dictionary_VR(tag_for_keyword(keyword) or 0) in {"CS", "LO", "UI", "PN", "SH", "DS", "IS", "LT"}
]
# Everything that a string attribute of Tags may hold, apart from UIDs.
ALLOWED = set(PLANES) | terms.MODALITIES | terms.BODY_PARTS | terms.VIEWS | terms.PHOTOMETRIC | terms.LATERALITIES


@given(
    st.dictionaries(
        st.sampled_from(TEXTUAL),
        st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=40)
        | st.sampled_from(["CT", "HEAD", "LAT", "1.2.3"]),
    )
)
def test_no_free_text_comes_out(values: dict[str, str]) -> None:
    dataset = Dataset()
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        try:
            dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
        except (ValueError, TypeError, OverflowError):  # pydicom itself refuses to hold it
            continue
    tags = read_tags(dataset, values.get("SOPClassUID"))
    for field in dataclasses.fields(tags):
        value = getattr(tags, field.name)
        if not isinstance(value, str):
            assert value is None or isinstance(value, int)
        elif field.name in {"sop_class", "transfer_syntax", "series_uid", "study_uid"}:
            assert set(value) <= set("0123456789.") and len(value) <= 64
        else:
            assert value in ALLOWED


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HEAD", "HEAD"),
        (" chest ", "CHEST"),
        ("WHOLE BODY", "WHOLEBODY"),
        ("C-SPINE", "CSPINE"),
        ("Lumbar spine", "LSPINE"),
        ("CHEST, ABDOMEN AND PELVIS", "CHESTABDPELVIS"),
        ("RUQ", "RUQ"),
        ("THORACIC AORTA", "THORACICAORTA"),
        ("LEG", "LEG"),
        ("HEAD^ROUTINE", None),
        ("BACINO", None),
        (PATIENT, None),
        ("", None),
    ],
)
def test_body_part_is_a_defined_term_or_nothing(written: str, meant: str | None) -> None:
    assert body_part(written) == meant


def test_view_position_knows_its_aliases() -> None:
    written = ("pa", "LAT", "MLO", "Antero-posterior", "LEFT LATERAL", "tangential", "smiling")
    assert [view_position(text) for text in written] == ["PA", "LATERAL", "MLO", "AP", "LL", "TANGENTIAL", None]


UNIT = st.floats(-1, 1)


@given(st.permutations(range(3)), st.lists(st.sampled_from((-1, 1)), min_size=3, max_size=3), UNIT, UNIT, UNIT)
def test_the_plane_of_a_slice_is_that_across_its_normal(
    axes: list[int], signs: list[int], x: float, y: float, z: float
) -> None:
    """A patient lies in any of the scanner's axes and turned; the angle of the normal to an axis decides."""
    spin = np.cross(np.eye(3), [x, y, z])  # A rotation by Cayley's transform, about any axis.
    turned = np.linalg.solve(np.eye(3) + spin / 2, np.eye(3) - spin / 2) @ (np.eye(3)[axes] * signs)
    degrees = np.degrees(np.arccos(np.clip(np.abs(turned[2]), 0, 1)))
    found = plane_of([*turned[0], *turned[1]])
    assume(abs(degrees.min() - 36.87) > 0.1)
    assert found == (("SAGITTAL", "CORONAL", "AXIAL")[int(degrees.argmin())] if degrees.min() < 36.87 else None)


def test_what_gives_no_plane() -> None:
    for cosines in ([], [1, 0, 0], [0] * 6, [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [1, 0, 0, 0.7, 0.7, 0]):
        assert plane_of(cosines) is None


def oriented(*cosines: float) -> Dataset:
    """An item with an orientation."""
    item = Dataset()
    item.ImageOrientationPatient = list(cosines)
    return item


AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)


def enhanced(*frames: tuple[int, ...], shared: bool = False) -> Dataset:
    """An enhanced object whose frames have these orientations."""
    dataset, groups = Dataset(), []
    for cosines in frames:
        group = Dataset()
        group.PlaneOrientationSequence = [oriented(*cosines)]
        groups.append(group)
    if shared:
        dataset.SharedFunctionalGroupsSequence = groups
    else:
        dataset.PerFrameFunctionalGroupsSequence = groups
    return dataset


def test_the_plane_is_read_where_the_object_keeps_it() -> None:
    assert read_tags(oriented(*CORONAL), None).view == "CORONAL"
    assert read_tags(enhanced(AXIAL, AXIAL, AXIAL), None).view == "AXIAL"
    assert read_tags(enhanced(AXIAL, shared=True), None).view == "AXIAL"
    assert read_tags(enhanced(AXIAL, CORONAL, AXIAL), None).view is None, "three planes of a survey are none"
    radiograph = oriented(*CORONAL)
    radiograph.ViewPosition = "PA"
    assert read_tags(radiograph, None).view == "PA"
    scout = oriented(*CORONAL)
    scout.Modality, scout.ImageType = "CT", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    assert read_tags(scout, None).view is None, "the projection that a CT is planned with is no slice"
    scout.Modality = "MR"
    assert read_tags(scout, None).view == "CORONAL"


def test_tags_of_a_real_file() -> None:
    tags = only(shipped("CT_small.dcm")).tags
    assert (tags.modality, tags.rows, tags.columns, tags.photometric) == ("CT", 128, 128, "MONOCHROME2")
    assert tags.sop_class == "1.2.840.10008.5.1.4.1.1.2"
    assert tags.transfer_syntax == "1.2.840.10008.1.2.1"
    assert tags.localizer is False
    assert tags.view == "AXIAL"
    assert tags.series_number == 1


def test_grouping_uids_do_not_show() -> None:
    assert "1.2.3" not in repr(Tags(series_uid="1.2.3", study_uid="1.2.3.4"))


def test_patient_attributes_are_not_even_read() -> None:
    assert not [keyword for keyword in WANTED if keyword.startswith(("Patient", "Referring", "Institution"))]
    assert not {
        "StudyDescription",
        "SeriesDescription",
        "ProtocolName",
        "StudyDate",
        "AccessionNumber",
    } & set(WANTED)
