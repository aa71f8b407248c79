"""Generate the standard's tables that roco reads from the copies that pydicom and highdicom publish.

    scripts/tables [--check]

Writes roco_search/imaging/dicom/terms.json and roco_search/vocabulary/modalities.json. With --check it writes nothing
and fails if one of these files would change.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1] / "roco_search"


def tables() -> dict[str, Any]:
    """Return every table: defined terms with their meanings, in the order of the terms."""
    return {
        "modalities": modalities(),
        "body_parts": body_parts(),
        "views": sorted({meaning for cid in (4010, 4014) for meaning in group(cid).values()}),
        "lateralities": {meaning[0]: meaning for meaning in sorted(group(244).values())},
        "photometric_interpretations": photometric_interpretations(),
    }


def modalities() -> dict[str, str]:
    """Return the terms of Modality (0008,0060): CID 33 of PS3.16, and the terms that have been retired from it.

    Those are, in pydicom's copy of PS3.16 Annex D, the codes of letters that belong to no context group any more.
    """
    found = dict(group(33))
    for named in concepts()["DCM"].values():
        for code, (meaning, groups) in named.items():
            if code.isalpha() and not groups:
                found.setdefault(code, meaning)
    return dict(sorted(found.items()))


def body_parts() -> dict[str, str]:
    """Return the terms of Body Part Examined (0018,0015): Table L-1 of PS3.16, as highdicom publishes it."""
    package = find_spec("highdicom")
    if package is None or package.origin is None:
        raise SystemExit("scripts/tables needs highdicom; run pip install -e '.[dev]'.")
    table = json.loads((Path(package.origin).parent / "_standard" / "anatomic_regions.json").read_text("utf-8"))
    return {term: meaning for term, (_, _, meaning, _) in sorted(table.items())}


def photometric_interpretations() -> list[str]:
    """Return the terms of Photometric Interpretation (0028,0004), PS3.3 C.7.6.3.1.2."""
    from pydicom.pixels.common import PhotometricInterpretation

    return sorted(entry.value for entry in PhotometricInterpretation)


def group(cid: int) -> dict[str, str]:
    """Return the meaning of each code of a context group of PS3.16."""
    from pydicom.sr._cid_dict import cid_concepts

    known = concepts()
    return {
        code: meaning
        for scheme, names in cid_concepts[cid].items()
        for name in names
        for code, (meaning, groups) in known[scheme][name].items()
        if cid in groups
    }


def concepts() -> dict[str, dict[str, dict[str, tuple[str, list[int]]]]]:
    """Return the concepts of PS3.16 by scheme, keyword and code: the meaning and the context groups of each."""
    from pydicom.sr import _concepts_dict

    published: dict[str, Any] = _concepts_dict.concepts
    return published


def main() -> int:
    made = {PACKAGE / "imaging/dicom/terms.json": tables(), PACKAGE / "vocabulary/modalities.json": modalities()}
    changed = False
    for target, table in made.items():
        text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv[1:]:
            target.write_text(text, "utf-8")
        elif not target.exists() or target.read_text("utf-8") != text:
            print(f"{target.name} is not what pydicom and highdicom publish; run scripts/tables.", file=sys.stderr)
            changed = True
    return int(changed)


if __name__ == "__main__":
    sys.exit(main())
