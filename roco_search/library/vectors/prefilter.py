"""A copy of a large matrix in 8 bits, a quarter of its size, that rules out the rows that cannot be among the nearest.

What a query over a million vectors waits for is memory. The copy is read instead of the matrix, and only what it
cannot rule out is compared in full, so that the answer is the exact one: with a row x = s a + e and a query
q = t b + f, where a and b are whole numbers up to 127,

    | x q - s t a b |  =  | s a f + e q |  <=  (|x| + |e|) |f| + |e| |q|

and that bound is known for each query from the longest e of all rows. Rows that came after the copy was made are
never ruled out; when they are many, it is made again. It is a cache of what it was made from, by content: the parts
of the matrix's manifest.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roco_search.library.directory import PREFILTER, PREFILTER_SEAL, discard_caches
from roco_search.system.files import replacing
from roco_search.system.process import cores
from roco_search.system.seals import open_sealed, seal_file

FROM = 256 * 2**20  # Bytes of a matrix from which the copy is worth its disk: what it saves there is 10 ms a query.
BEHIND = 16  # One row in this many may be new before the copy is made again.
SLACK = 1e-5  # Above the rounding of all that is computed here in float32.
MAGIC = b"ROCOCOAR"
HEADER = 4096
ROWS_AT_ONCE = 8192
MOST = 127

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Parts = Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Prefilter:
    """The copy, mapped.

    Attributes
    ----------
    codes
        int8 ``(rows, dim)``: the first rows of the matrix, divided by the step and rounded.
    step
        The step of the rounding.
    residual
        The greatest length of what rounding took from a row.
    """

    codes: npt.NDArray[np.int8]
    step: float
    residual: float

    @classmethod
    def open(cls, directory: Path, matrix: Vectors, parts: Parts) -> "Prefilter | None":
        """Map the copy if there is one, and it was made from these parts of this matrix or from the first of them.

        One of which the seal is broken is not taken.
        """
        if matrix.nbytes < FROM or (content := open_sealed(directory / PREFILTER, directory / PREFILTER_SEAL)) is None:
            return None
        about = json.loads(content[:HEADER].tobytes().removeprefix(MAGIC))
        made_from = parts[: int(about["parts"])]
        rows = sum(count for count, _ in made_from)
        if about["content"] != content_of(made_from) or not rows:
            return None
        codes = content[HEADER:].view(np.int8).reshape(rows, matrix.shape[1])
        return cls(codes, float(about["step"]), float(about["residual"]))

    def near(self, query: Vectors, k: int, total: int, chosen: Rows | None, bias: Vectors | None = None) -> Rows | None:
        """Return rows, ascending, that hold the k nearest and all that score the same; None if too little is ruled out.

        Parameters
        ----------
        query
            float32 ``(dim,)``.
        k
            How many are wanted.
        total
            Rows of the matrix.
        chosen
            Only these rows, ascending; None for all.
        bias
            What is added to the score of each row, float32 ``(total,)``; None for nothing.
        """
        import simsimd

        covered = len(self.codes)
        step = float(np.abs(query).max()) / MOST or 1.0
        whole = np.rint(query / step)
        lost = float(np.linalg.norm(query - step * whole))
        length = float(np.linalg.norm(query))
        spread = 0.0 if bias is None else float(np.ptp(bias))
        bound = (1 + self.residual) * lost + self.residual * length + SLACK * max(1.0, length, spread)
        products = simsimd.cdist(self.codes, whole.astype(np.int8)[None], metric="dot", threads=cores())
        scores = np.asarray(products, np.float32)[:, 0] * np.float32(self.step * step)
        if bias is not None:
            scores = scores + bias[:covered]
        if chosen is None:
            later = np.arange(covered, total)
        else:
            first = int(np.searchsorted(chosen, covered))
            chosen, later = chosen[:first], chosen[first:]
            scores = scores[chosen]
        if len(scores) < k:
            return None
        last = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= last - 2 * bound)
        return np.concatenate([kept if chosen is None else chosen[kept], later])

    def equals(self, matrix: Vectors) -> bool:
        """Whether it holds what `write_prefilter` would write from this matrix."""
        for first in range(0, len(self.codes), ROWS_AT_ONCE):
            codes = self.codes[first : first + ROWS_AT_ONCE]
            rows = matrix[first : first + len(codes)]
            rounded, residual = _rounded(rows, self.step)
            if residual > self.residual or not np.array_equal(rounded, codes):
                return False
        return True


def write_prefilter(directory: Path, matrix: Vectors, parts: Parts) -> None:
    """Make the copy if the matrix is large and there is none that fits, or one that lacks too many rows.

    Without room on the disk there is none, and searching does without.
    """
    found = Prefilter.open(directory, matrix, parts)
    if found is not None and (len(matrix) - len(found.codes)) * BEHIND <= len(matrix):
        return
    if matrix.nbytes < FROM:
        discard_caches(directory, (PREFILTER, PREFILTER_SEAL))
        return

    step = max(_greatest(matrix) / MOST, 1e-9)
    residual = 0.0
    try:
        with replacing(directory / PREFILTER) as temporary, temporary.open("rb+") as file:
            file.seek(HEADER)
            for first in range(0, len(matrix), ROWS_AT_ONCE):
                codes, longest = _rounded(matrix[first : first + ROWS_AT_ONCE], step)
                residual = max(residual, longest)
                file.write(codes.tobytes())
            about: dict[str, Any] = {"parts": len(parts), "content": content_of(parts), "step": step}
            file.seek(0)
            file.write((MAGIC + json.dumps({**about, "residual": residual}).encode()).ljust(HEADER))
        seal_file(directory / PREFILTER, directory / PREFILTER_SEAL)
    except OSError:
        discard_caches(directory, (PREFILTER, PREFILTER_SEAL))


def prefilter_damaged(directory: Path) -> bool:
    """Whether there is a copy, and its seal is broken."""
    place = directory / PREFILTER
    return place.exists() and open_sealed(place, directory / PREFILTER_SEAL) is None


def content_of(parts: Parts) -> str:
    """Return what names the content of parts of a matrix."""
    return hashlib.sha256("".join(digest for _, digest in parts).encode()).hexdigest()


def _greatest(matrix: Vectors) -> float:
    return max(
        float(np.abs(matrix[first : first + ROWS_AT_ONCE]).max()) for first in range(0, len(matrix), ROWS_AT_ONCE)
    )


def _rounded(rows: Vectors, step: float) -> tuple[npt.NDArray[np.int8], float]:
    """Return rows as whole numbers of steps, int8, and the greatest length of what that takes from one."""
    whole = np.clip(np.rint(rows / np.float32(step)), -MOST, MOST)
    return whole.astype(np.int8), float(np.linalg.norm(rows - np.float32(step) * whole, axis=1).max())
