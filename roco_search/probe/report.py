"""What a probe may claim, as one HTML page: figures, reliability and learning curves. It holds no image and no path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roco_search import __version__
from roco_search.errors import InputError
from roco_search.figures import is_ours, page, render, style, svg, write_page
from roco_search.probe.probe import Claim, Interval, Probe
from roco_search.statistics.bootstrap import RESAMPLES

if TYPE_CHECKING:
    from markupsafe import Markup

KIND = "probe report"
NAMES = {"auc": "AUC", "average_precision": "average precision", "accuracy": "accuracy", "brier": "Brier score"}

SIZE = (4.2, 3.2)  # inches of a plot: two are side by side, or one below the other on a phone
LEAST_SPAN = 0.1  # of the axis of an AUC


def check_place(path: Path) -> None:
    """Refuse, before anything is measured, to write where it will not be possible; raises `InputError`."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written, as there is no folder {path.parent}; choose another path.")
    if path.exists() and not is_ours(path, KIND):
        raise InputError(f"{path} exists and is not a roco {KIND}, so it is kept; choose another name.")


def write_report(path: Path, probe: Probe) -> None:
    """Write the page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError, StorageFull
    """
    write_page(path, KIND, report(probe))


def report(probe: Probe) -> str:
    """Return the page, in ASCII."""
    labels = [
        {
            "name": label,
            "claim": claim,
            "limits": limits,
            "rows": [(NAMES[key], _shown(claim.head[key]), _shown(claim.zero_shot.get(key))) for key in NAMES],
            "gain": "–" if claim.gain is None else "{:+.3f} ({:+.3f} to {:+.3f})".format(*claim.gain),
            **{key: f"{getattr(limits, key):.3f}" for key in ("best", "rule_in", "rule_out")},
            "shuffled": _shown(claim.shuffled),
            "shortcut": _shown(claim.shortcut),
            "plots": [_reliability(claim), _curve(claim)],
        }
        for label, claim, limits in zip(probe.labels, probe.claims, probe.limits, strict=True)
    ]
    body = render(
        "probe/report.html",
        probe=probe,
        model=Path(probe.model).name,
        labels=labels,
        resamples=f"{RESAMPLES:,}",
        version=__version__,
    )
    return page(KIND, f"The probe {probe.name}", body)


def _shown(figure: Interval | None) -> str:
    return "–" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


def _reliability(claim: Claim) -> Markup:
    with style() as figure:
        made = figure(figsize=SIZE)
        axes = made.subplots()
        axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
        means, shares = [point[0] for point in claim.reliability], [point[1] for point in claim.reliability]
        axes.plot(means, shares, marker="o")
        axes.set(title="Reliability", xlabel="mean probability", ylabel="share of positives", xlim=(0, 1), ylim=(0, 1))
        return svg(made)


def _curve(claim: Claim) -> Markup:
    with style() as figure:
        made = figure(figsize=SIZE)
        axes = made.subplots()
        values = list(claim.curve.values())
        reached = [bound for value in values for bound in value]
        if claim.curve:
            sizes = [int(size) for size in claim.curve]
            axes.plot(sizes, [value[0] for value in values], marker="o", label="head, three draws")
            axes.fill_between(sizes, [v[1] for v in values], [v[2] for v in values], alpha=0.2)
            axes.set_xscale("log")
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
        if "auc" in claim.zero_shot:
            reached.append(claim.zero_shot["auc"][0])
            axes.axhline(reached[-1], color="#D55E00", linestyle="--", label="zero-shot")
        if reached:  # Thousandths would look like a fall.
            top = min(1.005, max(reached) + 0.02)
            axes.set_ylim(min(min(reached) - 0.02, top - LEAST_SPAN), top)
        axes.set(title="AUC on all other cases", xlabel="examples of each class", ylabel="AUC")
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        return svg(made)
