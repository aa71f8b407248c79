"""What a program may ask of what its person made of a library: cohorts and probes. Every function only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roco_search.curation.cohorts.cohort import members_of
from roco_search.curation.cohorts.shelf import SHELF as COHORTS
from roco_search.errors import InputError
from roco_search.library import Library, StoredFrame
from roco_search.probe.applying import apply
from roco_search.probe.shelf import probes, read_probe
from roco_search.system.text import printable

if TYPE_CHECKING:
    from roco_search.web.backend import Desk

Answer = dict[str, Any]

MOST = 100
"""The greatest number of hits in one answer: a program reads all of them, and a model pays for each."""
FRAME_FIELDS = ("modality", "body_part", "view", "frame", "frames", "rows", "columns", "series", "study")


class Kept:
    """The questions about cohorts and probes; see `Functions`."""

    def __init__(self, desk: Desk, *, redact_paths: bool) -> None:
        self._desk = desk
        self.redact_paths = redact_paths

    def cohorts(self) -> Answer:
        """List the cohorts of the library: named sets of images that a person saved."""
        found = self._desk.ask(COHORTS.read_all)
        return {
            "cohorts": [
                {
                    "name": cohort.name,
                    "images": len(cohort.members),
                    "query": cohort.definition.query,
                    "refreshed": cohort.refreshed,
                }
                for cohort in found
            ]
        }

    def cohort(self, name: str, n: int = 10, offset: int = 0) -> Answer:
        """Show a cohort: the number of its images, and some of them.

        Parameters
        ----------
        name
            Its name, as list_cohorts has it.
        n, offset
            How many images to return (at most 100), after how many others.
        """
        check_page(n, offset)

        def question(library: Library) -> Answer:
            found = COHORTS.read(library, name)
            listed = members_of(library, found)
            return {
                "name": name,
                "images": len(found.members),
                "in_library": len(listed),
                "query": found.definition.query,
                "refreshed": found.refreshed,
                "members": [
                    {"score": entry.member.score, "match": entry.member.match, **self._frame(entry.frame)}
                    for entry in listed[offset : offset + n]
                ],
            }

        return self._desk.ask(question)

    def probes(self) -> Answer:
        """List the probes of the library: classifiers that a person taught with labels of their own.

        Each label has the AUC that it reached on held-out cases and that of the untaught model, with 95 % intervals.
        """

        def question(library: Library) -> list[Answer]:
            known = library.active().fingerprint
            return [
                {
                    "name": probe.name,
                    "usable": probe.fingerprint == known,
                    "labels": [
                        {
                            "label": label,
                            "auc": claim.head["auc"],
                            "zero_shot_auc": claim.zero_shot.get("auc"),
                            "worse_than_zero_shot": claim.worse,
                            "shortcut_suspected": claim.suspect,
                            "threshold": limits.best,
                            "rule_in": limits.rule_in,
                            "rule_out": limits.rule_out,
                        }
                        for label, claim, limits in zip(probe.labels, probe.claims, probe.limits, strict=True)
                    ],
                }
                for probe in probes(library)
            ]

        return {"probes": self._desk.ask(question)}

    def probe(self, name: str, label: str | None = None, n: int = 10, offset: int = 0) -> Answer:
        """Apply a probe to the whole library: how many images it rules in and out, and the most probable ones.

        The probabilities are the probe's, not clinical ones.

        Parameters
        ----------
        name
            Its name, as list_probes has it.
        label
            Which of its labels; it can be left out where there is only one.
        n, offset
            How many images to return (at most 100), the most probable first, after how many others.
        """
        check_page(n, offset)

        def question(library: Library) -> Answer:
            probe = read_probe(library, name)
            place = probe.place(label)
            with library.snapshot():
                said = apply(library, probe)
                shares = said.probabilities[:, place]
                best = np.argsort(-shares, kind="stable")[offset : offset + n]
                frames = library.frames.get(said.ids[best].tolist())
            limits = probe.limits[place]
            return {
                "name": name,
                "label": probe.labels[place],
                "images": len(shares),
                "ruled_in": int((shares >= limits.rule_in).sum()),
                "given": int((shares >= limits.best).sum()),
                "ruled_out": int((shares < limits.rule_out).sum()),
                "hits": [
                    {"probability": float(shares[row]), **self._frame(frames[int(said.ids[row])])} for row in best
                ],
            }

        return self._desk.ask(question)

    def _frame(self, frame: StoredFrame) -> Answer:
        kept: Answer = {"id": frame.id} | {name: getattr(frame, name) for name in FRAME_FIELDS}
        return kept if self.redact_paths else kept | {"path": printable(frame.path)}


def check_page(n: int, offset: int) -> None:
    """Refuse a page that is too large, or too far away. Raises `InputError`."""
    if not 1 <= n <= MOST:
        raise InputError(f"The number of hits must be 1 to {MOST}; choose another n.")
    if not 0 <= offset <= 1_000_000:
        raise InputError("The number of hits to skip must be 0 to 1,000,000; choose another offset.")
