"""What a caption affirms: cues before, behind, harmless ones, other languages; no word is ever invented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roco_search.vocabulary.negation import affirmed


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("No acute cardiopulmonary abnormality.", ""),
        ("Lungs are clear, without effusion. A 2.5 cm nodule in the right upper lobe.", ["clear", "2.5 cm nodule"]),
        ("Mass in the liver (no calcification) with a cyst", ["Mass", "liver", "cyst"]),
        ("Pneumothorax is not seen. Small effusion remains.", ["Small effusion remains"]),
        ("There is no pneumothorax, but a fracture of the rib.", ["fracture of the rib"]),
        ("Rule out pneumonia. Pneumonia cannot be excluded.", ["Rule out pneumonia", "Pneumonia cannot be excluded"]),
        ("MRI with and without contrast shows a tumor.", ["shows a tumor"]),
        ("Axial CT without contrast: haemorrhage.", ["Axial CT without contrast", "haemorrhage"]),
        ("Kein Pleuraerguss. Infiltrat links.", ["Infiltrat links"]),
        ("Sin derrame pleural; neumonía derecha", ["neumonía derecha"]),
        ("The nodule is nonspecific.", ["nodule is nonspecific"]),
    ],
)
def test_what_is_denied_is_left_out(text: str, kept: list[str] | str) -> None:
    found = affirmed(text)
    for part in kept:
        assert part in found
    for word in ("abnormality", "calcification", "pneumothorax", "Pleuraerguss", "derrame"):
        assert word not in found
    assert ("effusion" in found) == ("effusion remains" in text)


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["no", "mass", "but", "is", "absent", ".", "(", "cyst"])).map(" ".join)
)
def test_nothing_is_invented(text: str) -> None:
    words = text.split()
    assert all(any(part in word for word in words) for part in affirmed(text).split())
