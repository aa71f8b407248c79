"""Licences as they are really written, and which of them a code asks for."""

from __future__ import annotations

import pytest

from roco_search.datasets.licences import (
    Licence,
    check_codes,
    count_licences,
    label_licence,
    parse_codes,
    parse_licence,
)
from roco_search.errors import InputError
from tests.datasets.drawing import row


@pytest.mark.parametrize(
    ("statement", "code", "version"),
    [
        ("CC BY", "cc-by", None),
        ("cc-by", "cc-by", None),
        ("cc_by_nc_sa 3.0", "cc-by-nc-sa", "3"),
        ("CC BY-NC 4.0", "cc-by-nc", "4"),
        ("cc-by-nc-4.0", "cc-by-nc", "4"),
        ("CC BY 4.0 (badge in README for the images); MIT for the code", "cc-by", "4"),
        ("CC BY-NC [Ji et al. (2013)]", "cc-by-nc", None),
        ("CC0 (ARCADE paper shipped in the repo)", "cc0", None),
        ("CC Zero", "cc0", None),
        ("CC0 1.0 Universal", "cc0", "1"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International License", "cc-by-nc-sa", "4"),
        ("Creative Commons Attribution No Derivatives", "cc-by-nd", None),
        ("https://creativecommons.org/licenses/by-nc-nd/2.5/", "cc-by-nc-nd", "2.5"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "cc0", "1"),
        ("BY-NC-SA", "cc-by-nc-sa", None),
        ("NO-CC CODE", "no-cc-code", None),
        ("MIT", "mit", None),
        ("Apache-2.0", "apache", "2"),
        ("listed as authorized for everyone", "listed-as-authorized-for-everyone", None),
    ],
)
def test_a_statement_has_a_code(statement: str, code: str, version: str | None) -> None:
    assert parse_licence(statement) == Licence(code, version)


@pytest.mark.parametrize(
    "statement",
    [
        None,
        "",
        " ",
        "unknown",
        "N/A",
        "None",
        "not stated in repo (BUSI, Al-Dhabyani 2020; Kaggle copy listed CC0, article CC BY)",
        "Not stated for this image",
    ],
)
def test_what_states_no_licence(statement: str | None) -> None:
    assert parse_licence(statement) is None
    assert label_licence(statement) == "not stated"


def test_a_code_without_version_takes_any_and_nothing_else() -> None:
    (asked,) = parse_codes(["cc-by"])
    assert all(asked.allows(parse_licence(text)) for text in ("CC BY", "CC BY 3.0", "CC-BY 4.0 (images)"))
    assert not any(
        asked.allows(parse_licence(text)) for text in ("CC BY-NC", "CC BY-SA 4.0", "CC0", "CC", "not stated", None)
    )


def test_a_version_that_is_asked_for_must_be_stated() -> None:
    (asked,) = parse_codes(["CC BY 4.0"])
    assert asked.allows(parse_licence("cc-by-4.0"))
    assert not asked.allows(parse_licence("CC BY 3.0")) and not asked.allows(parse_licence("CC BY"))


def test_licences_are_counted_without_their_remarks() -> None:
    statements = ["CC BY 4.0 (a)", "CC BY 4.0; b", "not stated (c)", None, "CC0"]
    assert count_licences(statements) == "CC BY 4.0 (2), not stated (2), CC0 (1)"
    many = count_licences(f"code {letter}" for letter in "abcdefghijklmnopqrst")
    assert many.endswith("code l (1) and 8 more")


def test_a_code_that_no_image_is_under_names_what_there_is() -> None:
    rows = [row(licence="CC BY"), row(licence="CC BY"), row(licence="CC BY-NC"), row()]
    check_codes(["CC BY", "cc by nc"], rows, "./d")
    with pytest.raises(InputError, match=r"'CC BY-SA'; name one of .* CC BY \(2\), CC BY-NC \(1\), not stated \(1\)"):
        check_codes(["CC BY", "CC BY-SA"], rows, "./d")


def test_a_data_set_without_licences_is_refused() -> None:
    check_codes([], [row()], "./d")
    with pytest.raises(InputError, match=r"\./d does not state the licence of any image"):
        check_codes(["CC BY"], [row(), row(licence="unknown")], "./d")


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(InputError, match="'not stated' is no licence"):
        parse_codes(["not stated"])
