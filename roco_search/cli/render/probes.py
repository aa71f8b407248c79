"""How probes are printed: what they may claim, in words and figures, and warnings first."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from roco_search.cli.output import moment, print_facts, print_line, print_rows, say, with_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.cli.tables import Cell
    from roco_search.probe.probe import Claim, Interval, Probe
    from roco_search.probe.space import Space

NAMES = {"auc": "AUC", "average_precision": "average precision", "accuracy": "accuracy", "brier": "Brier score"}


def interval(figure: Interval | None) -> str:
    """Return "0.912 (0.880–0.941)"."""
    return "–" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


def plain(taught: Probe | Space) -> dict[str, Any]:
    """Return a probe or a space as JSON has it: its card, without weights."""
    return _plain_space(taught) if taught.kind == "space" else _plain_probe(taught)  # type: ignore[arg-type]


def _plain_space(space: Space) -> dict[str, Any]:
    said = {"kind": space.kind, "name": space.name, "model": space.model, "fingerprint": space.fingerprint}
    figures = {f"precision_at_10_{name}": getattr(space.claim, name) for name in ("before", "after", "gain")}
    rest = {name: getattr(space.claim, name) for name in ("images", "cases", "shrinkage", "boost")}
    return {**said, "made": space.made, "labels": list(space.labels), **figures, **rest}


def _plain_probe(probe: Probe) -> dict[str, Any]:
    entries = zip(probe.labels, probe.claims, probe.limits, strict=True)
    return {
        "kind": probe.kind,
        "name": probe.name,
        "model": probe.model,
        "fingerprint": probe.fingerprint,
        "made": probe.made,
        "labels": [
            {
                "label": label,
                **asdict(claim),
                "worse_than_zero_shot": claim.worse,
                "shortcut_suspected": claim.suspect,
                "thresholds": asdict(limits),
            }
            for label, claim, limits in entries
        ],
    }


def show_claims(probe: Probe) -> None:
    """Print what a probe may claim."""
    for caveat in probe.caveats():
        say(f"Warning: {with_flags(caveat)}")
    images, cases = max(claim.images for claim in probe.claims), max(claim.cases for claim in probe.claims)
    print_line(
        f"{probe.name}: measured on {images:,} images of {cases:,} cases that the head had not seen; 95 % intervals by "
        "case. Probabilities are the probe's, not clinical ones."
    )
    print_line()
    rows: list[list[Cell]] = [
        [
            label,
            f"{claim.positives:,}",
            f"{claim.images:,}",
            interval(claim.head["auc"]),
            interval(claim.zero_shot.get("auc")),
            "–" if claim.gain is None else f"{claim.gain[0]:+.3f} ({claim.gain[1]:+.3f} to {claim.gain[2]:+.3f})",
            interval(claim.shuffled),
            interval(claim.shortcut),
        ]
        for label, claim in zip(probe.labels, probe.claims, strict=True)
    ]
    columns = ("label", "positive", "of", "AUC", "zero-shot", "gain", "labels shuffled", "header and border alone")
    print_rows(columns, rows, right=columns[1:])
    print_line()
    others: list[list[Cell]] = [
        [label, *(interval(claim.head.get(name)) for name in NAMES if name != "auc"), *_thresholds(probe, place)]
        for place, (label, claim) in enumerate(zip(probe.labels, probe.claims, strict=True))
    ]
    heads = [name for key, name in NAMES.items() if key != "auc"]
    limits = probe.limits[0]
    asked = (f"rule out (sensitivity {limits.sensitivity:g})", f"rule in (specificity {limits.specificity:g})")
    print_rows(("label", *heads, "Youden", *asked), others, right=(*heads, "Youden", *asked))
    if any(claim.curve for claim in probe.claims):
        print_line()
        _curves(probe)


def _thresholds(probe: Probe, place: int) -> list[str]:
    limits = probe.limits[place]
    return [f"{value:.3f}" for value in (limits.best, limits.rule_out, limits.rule_in)]


def _curves(probe: Probe) -> None:
    sizes = sorted({int(size) for claim in probe.claims for size in claim.curve})
    rows: list[list[Cell]] = [
        [label, *(_mean(claim, size) for size in sizes)]
        for label, claim in zip(probe.labels, probe.claims, strict=True)
        if claim.curve
    ]
    print_rows(("AUC by examples a class", *map(str, sizes)), rows, right=tuple(map(str, sizes)))


def _mean(claim: Claim, size: int) -> str:
    found = claim.curve.get(str(size))
    return "–" if found is None else f"{found[0]:.3f}"


def show_list(kept: Sequence[Probe | Space], fingerprint: str | None) -> None:
    """Print the probes and spaces of a library."""
    probes: list[Probe] = [taught for taught in kept if taught.kind == "probe"]  # type: ignore[misc]
    spaces: list[Space] = [taught for taught in kept if taught.kind == "space"]  # type: ignore[misc]
    if probes:
        rows: list[list[Cell]] = [
            [
                probe.name,
                label,
                f"{claim.positives:,} of {claim.images:,}",
                _figure(claim.head["auc"]),
                _figure(claim.zero_shot.get("auc")),
                _remark(probe, claim, fingerprint),
            ]
            for probe in probes
            for label, claim in zip(probe.labels, probe.claims, strict=True)
        ]
        print_rows(("probe", "label", "positive", "AUC", "zero-shot", "remark"), rows, right=("AUC", "zero-shot"))
    if probes and spaces:
        print_line()
    if spaces:
        rows = [
            [
                space.name,
                ", ".join(space.labels),
                f"{space.claim.images:,}",
                _figure(space.claim.after),
                _figure(space.claim.before),
                _of_another(space, fingerprint),
            ]
            for space in spaces
        ]
        columns = ("space", "labels", "images", "P@10", "before", "remark")
        print_rows(columns, rows, right=("images", "P@10", "before"))


def _figure(figure: Interval | None) -> str:
    return "–" if figure is None else f"{figure[0]:.3f}"


def _of_another(taught: Probe | Space, fingerprint: str | None) -> str:
    return "" if fingerprint in {None, taught.fingerprint} else f"of another model ({taught.model})"


def _remark(probe: Probe, claim: Claim, fingerprint: str | None) -> str:
    if other := _of_another(probe, fingerprint):
        return other
    if claim.worse:
        return "worse than zero-shot" if claim.surely_worse else "no better than zero-shot"
    return "shortcut suspected" if claim.suspect else ""


def show_card(taught: Probe | Space) -> None:
    """Print a card, and what it may claim."""
    print_facts([("model", f"{taught.model} ({taught.fingerprint[:12]})"), ("made", moment(taught.made))])
    print_line()
    if taught.kind == "space":
        show_space(taught)  # type: ignore[arg-type]
    else:
        show_claims(taught)  # type: ignore[arg-type]


def show_space(space: Space) -> None:
    """Print what a space may claim."""
    claim = space.claim
    print_line(
        f"{space.name}: of the ten nearest labelled images of other cases, the share with the same label; measured on "
        f"{claim.images:,} images of {claim.cases:,} cases, always among cases that the space had not seen; 95 % "
        "intervals by case."
    )
    print_line()
    gain = f"{claim.gain[0]:+.3f} ({claim.gain[1]:+.3f} to {claim.gain[2]:+.3f})"
    print_facts(
        [
            ("labels", ", ".join(space.labels)),
            ("the model's own space", interval(claim.before)),
            ("this space", interval(claim.after)),
            ("gain", gain),
        ]
    )
