"""Whether every row is such as roco writes. SQLite itself would store a text in a column of numbers."""

from roco_search.library.truth.connection import Connection

_TEXT, _NUMBER, _BYTES = "text", "integer", "blob"
_ABSOLUTE = "substr({0}, 1, 1) = '/' AND instr(CAST({0} AS BLOB), x'00') = 0"

# By table and column: the type, whether NULL is one too, and what else has to hold.
_RULES: dict[str, dict[str, tuple[str, bool, str]]] = {
    "settings": {"value": (_TEXT, False, "1")},
    "roots": {"path": (_TEXT, False, _ABSOLUTE), "frames": (_TEXT, False, "1"), "texts": (_TEXT, False, "1")},
    "files": {
        "path": (_TEXT, False, _ABSOLUTE),
        "size": (_NUMBER, False, "{0} >= 0"),
        "mtime_ns": (_NUMBER, False, "1"),
        "content_hash": (_BYTES, True, "length({0}) = 32"),
        "frames": (_TEXT, True, "1"),
        "reason": (_TEXT, True, "1"),
        "case_key": (_TEXT, True, "1"),
    },
    "frames": {
        "number": (_NUMBER, False, "{0} BETWEEN 0 AND count - 1"),
        "count": (_NUMBER, False, "1"),
        **dict.fromkeys(
            (
                *("modality", "body_part", "view", "laterality", "series", "study"),
                *("photometric", "sop_class", "transfer_syntax"),
            ),
            (_TEXT, True, "1"),
        ),
        **dict.fromkeys(
            ("rows", "columns", "burned_in", "instance_number", "series_number", "localizer"), (_NUMBER, True, "1")
        ),
    },
    "embedding_sets": {
        "model": (_TEXT, False, "1"),
        "fingerprint": (_TEXT, False, "1"),
        "dim": (_NUMBER, False, "{0} > 0"),
        "image_size": (_NUMBER, False, "{0} > 0"),
        "logit_scale": ("real", False, "{0} BETWEEN 0 AND 1e6"),
        "count": (_NUMBER, False, "{0} = (SELECT COUNT(*) FROM vectors WHERE set_id = embedding_sets.id)"),
        "last_id": (_NUMBER, False, "1"),
        "arithmetic": (_TEXT, True, "1"),
    },
    "vectors": {
        "vector": (_BYTES, False, "length({0}) = 4 * (SELECT dim FROM embedding_sets WHERE id = set_id)"),
    },
    "text_files": {"path": (_TEXT, False, _ABSOLUTE), "size": (_NUMBER, False, "1"), "mtime_ns": (_NUMBER, False, "1")},
    "captions": {
        "study": (_TEXT, True, "1"),
        **dict.fromkeys(("named", "text", "affirmed"), (_TEXT, False, "1")),
    },
}


def is_well_formed(connection: Connection) -> bool:
    """Whether every value is of its column's kind, and every reference leads somewhere; reads all rows."""
    for table, rules in _RULES.items():
        columns = {row[1] for row in connection.read(f"PRAGMA table_info({table})")}  # an earlier version has fewer
        wrong = [_broken(column, *rule) for column, rule in rules.items() if column in columns]
        if wrong and connection.read(f"SELECT 1 FROM {table} WHERE {' OR '.join(wrong)} LIMIT 1"):
            return False
    known = {key for (key,) in connection.read("SELECT key FROM settings")}
    return known >= {"id", "salt", "created"} and not connection.read("PRAGMA foreign_key_check")


def _broken(column: str, kind: str, optional: bool, holds: str) -> str:
    broken = f"(typeof({column}) != '{kind}' OR NOT ({holds.format(column)}))"
    return f"({column} IS NOT NULL AND {broken})" if optional else broken
