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
            "plot": _plot(claim),
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


def _plot(claim: Claim) -> Markup:
    with style() as figure:
        made = figure(figsize=(8, 3.2))
        left, right = made.subplots(1, 2)
        left.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
        means, shares = [point[0] for point in claim.reliability], [point[1] for point in claim.reliability]
        left.plot(means, shares, marker="o")
        left.set(title="Reliability", xlabel="mean probability", ylabel="share of positives", xlim=(0, 1), ylim=(0, 1))
        if claim.curve:
            sizes = [int(size) for size in claim.curve]
            values = list(claim.curve.values())
            right.plot(sizes, [value[0] for value in values], marker="o", label="head, three draws")
            right.fill_between(sizes, [v[1] for v in values], [v[2] for v in values], alpha=0.2)
            right.set_xscale("log")
            right.set_xticks(sizes, [str(size) for size in sizes])
            right.minorticks_off()
        if "auc" in claim.zero_shot:
            right.axhline(claim.zero_shot["auc"][0], color="#D55E00", linestyle="--", label="zero-shot")
        right.set(title="AUC on all other cases", xlabel="examples of each class", ylabel="AUC")
        if right.get_legend_handles_labels()[0]:
            right.legend()
        return svg(made)
