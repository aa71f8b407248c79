"""Which encoder suits a library: what it was made for, what is published of it, its licence, and what it costs here.

Only facts are weighed that can be: a model is left out for its licence, for the time or the memory that it takes on
this machine, or because it cannot be had. Of the others the best published retrieval wins. Figures of small pools are
no match for those of large ones, so they only decide between models that have no others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roco_search.errors import InputError
from roco_search.models.catalogue import costs, registry
from roco_search.models.catalogue.overview import Listed, list_models
from roco_search.models.catalogue.registry import Entry, Retrieval

LARGE_POOL = 1_000
"""The least number of candidates with which a published recall@10 says something of a library."""
HOURS = 24.0
"""How long embedding a library again may take where nothing else is said."""
_ALLOWS_COMMERCE = re.compile(r"(mit|apache20|bsd(2clause|3clause)?|cc0(10)?|ccby(sa)?\d*)")
_FORBIDS_COMMERCE = re.compile(r".*(ccbync|noncommercial|research).*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person allows: licences (none for any), commercial use, and the hours that embedding again may take."""

    licences: Sequence[str] = ()
    commercial: bool = False
    hours: float = HOURS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and what it would mean to take it. What is not known is None.

    Attributes
    ----------
    fits
        The share of the images of known modality that it was made for.
    recall_at_10, pool
        The mean of both directions in per cent, and the number of candidates, of the figure that it is compared by.
    figure
        Where that was measured, and by whom.
    download_bytes
        0 where it is on this disk.
    images_per_second, measured
        What this machine embeds, and whether that was measured or is an estimate.
    seconds
        For the whole library.
    memory_bytes
        An estimate of the most that it takes.
    left_out
        Why it is not advised; empty where it could be.
    """

    name: str
    on_disk: bool
    licence: str | None
    commercial: bool | None
    fits: float
    recall_at_10: float | None
    pool: int | None
    figure: str | None
    download_bytes: int | None
    images_per_second: float | None
    measured: bool
    seconds: float | None
    memory_bytes: int | None
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """The model to take, why, how, and all candidates, the best first. `take` is None where none can be advised."""

    images: int
    modalities: Mapping[str, int]
    model: str | None
    take: Candidate | None
    why: list[str]
    commands: list[str]
    candidates: list[Candidate]
    machine_memory_bytes: int | None = None


def advise(
    images: int, modalities: Mapping[str, int], model: str | None, wanted: Wanted, *, library: str | None = None
) -> Advice:
    """Weigh the catalogue, and the models on this disk, for a library.

    Parameters
    ----------
    images, modalities
        The number of its images, and of those of each modality that is known.
    model
        The name of its model; None where there is no library yet.
    wanted
        What is allowed.
    library
        Its folder, for the commands; None for the default one.

    Raises
    ------
    InputError
        If no model has one of the licences, or the hours are not above zero.
    """
    if not wanted.hours > 0:
        raise InputError(f"`hours` is {wanted.hours:g}; give a number above zero.")
    listed = [entry for entry in list_models() if not entry.baseline or entry.name == model]
    _check_licences(wanted, listed)
    speed, memory = costs.speed_of_mini(), costs.machine_memory()
    found = [_weigh(entry, images, modalities, wanted, speed, memory) for entry in listed]
    found.sort(key=_merit)
    take = found[0] if found and not found[0].left_out else None
    return Advice(
        images, modalities, model, take, _why(take, model) if take else [], _commands(take, model, library), found,
        memory,
    )  # fmt: skip


def commercial_use(licence: str | None) -> bool | None:
    """Return whether a licence allows commercial use; None where it has terms of its own, or none is stated."""
    if licence is None:
        return None
    plain = re.sub(r"[^a-z0-9]", "", licence.lower())
    if _FORBIDS_COMMERCE.fullmatch(plain):
        return False
    return True if _ALLOWS_COMMERCE.fullmatch(plain) else None


def _weigh(
    listed: Listed, images: int, modalities: Mapping[str, int], wanted: Wanted, speed: float | None, memory: int | None
) -> Candidate:
    entry = registry.entries().get(listed.name)
    here = listed.on_disk is not None
    rate, measured = costs.rate(listed, speed)
    figure = comparable(entry.retrieval) if entry else None
    weights = listed.bytes
    needed = None if weights is None else costs.memory_needed(weights, here=here)
    seconds = images / rate if rate else None
    commercial = commercial_use(listed.licence)
    return Candidate(
        name=listed.name,
        on_disk=here,
        licence=listed.licence,
        commercial=commercial,
        fits=_fits(entry, modalities),
        recall_at_10=figure and figure[0],
        pool=figure and figure[1],
        figure=figure and figure[2],
        download_bytes=0 if here else weights,
        images_per_second=rate,
        measured=measured,
        seconds=seconds,
        memory_bytes=needed,
        left_out=_left_out(listed, wanted, commercial, _fits(entry, modalities), seconds, needed, memory),
    )


def _left_out(
    listed: Listed,
    wanted: Wanted,
    commercial: bool | None,
    fits: float,
    seconds: float | None,
    needed: int | None,
    memory: int | None,
) -> str:
    if wanted.licences and not any(_same(listed.licence, licence) for licence in wanted.licences):
        return "another licence" if listed.licence else "no licence is stated"
    if wanted.commercial and not commercial:
        if listed.licence is None:
            return "no licence is stated"
        return "terms of its own" if commercial is None else "not for commercial use"
    if listed.by_hand and listed.on_disk is None:
        return "cannot be pulled"
    if fits < 0.5:
        return "made for other modalities"
    if needed and memory and needed > memory:
        return "needs more memory than there is"
    if seconds is not None and seconds > 3600 * wanted.hours:
        return f"takes more than {wanted.hours:g} hours"
    return ""


def comparable(figures: Sequence[Retrieval]) -> tuple[float, int, str] | None:
    """Return recall@10 in the largest pool, the mean of its directions, with the pool and where it was measured."""
    known = [figure for figure in figures if figure.pool and "10" in figure.recall]
    if not known:
        return None
    pool = max(figure.pool or 0 for figure in known)
    of_pool = [figure for figure in known if figure.pool == pool]
    whose = {"roco": "measured by roco eval", "others": "reported by others"}.get(of_pool[0].word, "its publisher's")
    value = sum(figure.recall["10"] for figure in of_pool) / len(of_pool)
    return round(value, 1), pool, f"{of_pool[0].images}; {whose}"


def _merit(found: Candidate) -> tuple[bool, float, bool, float, bool, str]:
    large = bool(found.pool and found.pool >= LARGE_POOL)
    return (
        bool(found.left_out),
        -round(found.fits, 1),
        not large,
        -(found.recall_at_10 or 0.0),
        not found.on_disk,
        found.name,
    )


def _fits(entry: Entry | None, modalities: Mapping[str, int]) -> float:
    """Return the share of images of known modality that a model was made for; 1 where it is for all."""
    total = sum(modalities.values())
    if entry is None or not entry.modalities or not total:
        return 1.0
    return sum(count for term, count in modalities.items() if term in entry.modalities) / total


def _check_licences(wanted: Wanted, listed: Sequence[Listed]) -> None:
    known = sorted({entry.licence for entry in listed if entry.licence})
    for licence in wanted.licences:
        if not any(_same(licence, other) for other in known):
            raise InputError(f"No model has the licence {licence!r}; those that are stated: {', '.join(known)}.")


def _same(one: str | None, other: str) -> bool:
    return one is not None and re.sub(r"[^a-z0-9]", "", one.lower()) == re.sub(r"[^a-z0-9]", "", other.lower())


def _why(take: Candidate, model: str | None) -> list[str]:
    if take.pool and take.pool >= LARGE_POOL:
        why = [
            f"Of the models allowed here, it has the best published retrieval in a large pool: recall@10 "
            f"{take.recall_at_10:.1f} % among {take.pool:,} ({take.figure})."
        ]
    elif take.pool:
        why = [
            "No model allowed here has a published figure of a large pool; of the others its own is the best: "
            f"recall@10 {take.recall_at_10:.1f} % among {take.pool:,} ({take.figure})."
        ]
    else:
        why = ["No model allowed here has a published figure of retrieval, so this is no more than a guess."]
    if take.licence is None:
        why.append("No licence is stated: ask its publisher before it is more than a trial.")
    else:
        note = {True: "", False: ", not for commercial use", None: "; read its terms"}[take.commercial]
        why.append(f"Licence: {take.licence}{note}.")
    if take.name == model:
        why.append("The library has it already.")
    return why


def _commands(take: Candidate | None, model: str | None, library: str | None) -> list[str]:
    if take is None or take.name == model:
        return []
    import shlex

    pull = [] if take.on_disk else [f"roco model pull {shlex.quote(take.name)}"]
    if model is None:
        return [*pull, f"roco model use {shlex.quote(take.name)}"]
    where = f" --library {shlex.quote(library)}" if library else ""
    return [*pull, f"roco index --reembed --model {shlex.quote(take.name)}{where}"]
