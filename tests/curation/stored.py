"""What a library has stored, read with SQL alone."""

import numpy as np

from tests.library.toy import Opened


def stored(opened: Opened) -> tuple[list[tuple[str, int]], np.ndarray]:
    """Every (path, frame) with its vector, read with SQL alone."""
    sql = """
        SELECT path, number, vector FROM vectors JOIN frames ON frames.id = frame_id JOIN files ON files.id = file_id
        ORDER BY frames.id
    """
    rows = opened.rows(sql)
    return [(path, number) for path, number, _ in rows], np.array([np.frombuffer(v, "<f4") for *_, v in rows])
