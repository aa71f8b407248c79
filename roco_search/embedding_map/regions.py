"""The regions of a map and their names: what most images of a part of the plane are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roco_search.vocabulary.concepts import spoken_term

Points = npt.NDArray[np.float32]

MOST = 12  # regions: as many names as are legible on a map that fills a window
FEWEST = 5  # points of a region that gets a name
SHARE = 0.5  # of a region's points that must have the name
NEAR = 0.12  # distance, in the map's longer side, within which two regions of one name are one
ROUNDS = 25  # of k-means, which has settled by then or moves little


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the map: its middle in the coordinates of the points, its name, and how many points have that name."""

    x: float
    y: float
    name: str
    count: int


def name_regions(
    points: Points, modality: Sequence[str | None], body_part: Sequence[str | None], most: int = MOST
) -> list[Region]:
    """Name the parts of a map by the modality and body part that most of their images have.

    Parameters
    ----------
    points
        float32 ``(n, 2)``.
    modality, body_part
        DICOM terms of each point; None where they are not known.
    most
        The largest number of regions.

    Returns
    -------
    list of Region
        The largest first. A part in which no name has a share of `SHARE` has none.
    """
    found: list[Region] = []
    for members in _clusters(points, most):
        counts: list[Counter[tuple[str | None, str | None]]] = [
            Counter((modality[i], body_part[i]) for i in members if modality[i] and body_part[i]),
            Counter((modality[i], None) for i in members if modality[i]),
            Counter((None, body_part[i]) for i in members if body_part[i]),
        ]
        for counted in counts:
            # Equal counts are ordered by name, so that the same map always has the same names.
            ranked = sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
            if ranked and ranked[0][1] >= max(FEWEST, SHARE * len(members)):
                (image, part), count = ranked[0]
                own = [i for i in members if image in {None, modality[i]} and part in {None, body_part[i]}]
                x, y = np.median(points[own], axis=0).tolist()
                words = [spoken_term("modality", image)] if image else []
                words += [spoken_term("body_part", part)] if part else []
                found.append(Region(x, y, " · ".join(words), count))
                break
    return _apart(sorted(found, key=lambda region: (-region.count, region.name)))


def _clusters(points: Points, most: int) -> list[list[int]]:
    """Divide points by k-means, whose first centres are each the point farthest from those before (Gonzalez 1985)."""
    count = min(most, len(points) // FEWEST)
    if count < 1:
        return []
    centres = points[:1].astype(np.float64)
    nearest = np.full(len(points), np.inf)
    while len(centres) < count:
        nearest = np.minimum(nearest, ((points - centres[-1]) ** 2).sum(axis=1))
        centres = np.vstack([centres, points[int(nearest.argmax())]])
    of = np.zeros(len(points), np.int64)
    for _ in range(ROUNDS):
        of = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres]).argmin(axis=0)
        moved = np.stack([points[of == k].mean(axis=0) if (of == k).any() else centres[k] for k in range(count)])
        if np.allclose(moved, centres):
            break
        centres = moved
    return [np.flatnonzero(of == k).tolist() for k in range(count)]


def _apart(regions: list[Region]) -> list[Region]:
    kept: list[Region] = []
    for region in regions:
        same = (other for other in kept if other.name == region.name)
        if not any(np.hypot(other.x - region.x, other.y - region.y) < NEAR for other in same):
            kept.append(region)
    return kept
