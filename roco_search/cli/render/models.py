"""How models look: a line of the list, the facts of one, and advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roco_search.cli.output import path_cell, print_facts, print_line, print_rows, say
from roco_search.cli.tables import Unbroken
from roco_search.system.text import size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.models.catalogue.advice import Advice, Candidate
    from roco_search.models.catalogue.overview import Facts, Listed
    from roco_search.models.catalogue.registry import Entry, Retrieval


def row(model: Listed) -> tuple[str, ...]:
    """Return a line of the table."""
    absent = "by hand" if model.by_hand else "gated" if model.gated else "no"
    here = {None: absent, "package": "yes", "models": "yes", "hub cache": "hub cache"}
    numbers = (Unbroken(size(model.bytes)) if model.bytes else None, model.image_size, model.text_length)
    return (
        "*" if model.default else "",
        model.name,
        here[model.on_disk],
        model.licence or "–",
        *("–" if number is None else Unbroken(number) for number in numbers),
        model.good_at or "–",
    )


def show(facts: Facts) -> None:
    """Print the facts for a person."""
    bias = "" if facts.logit_bias is None else f", bias {facts.logit_bias:.4g}"
    lines = (
        ("name", facts.name + (" (the default for new libraries)" if facts.default else "")),
        ("family", facts.family),
        ("embedding", f"{facts.dim} dimensions"),
        ("input", f"{facts.image_size} × {facts.image_size} pixels, texts up to {facts.text_length} tokens"),
        ("parameters", f"{facts.parameters:,} in {facts.precision}"),
        ("logit scale", f"{facts.logit_scale:.4g}{bias}"),
        ("fingerprint", facts.fingerprint),
        ("licence", facts.licence or "none stated"),
        ("origin", facts.repository or "–"),
        ("revision", facts.revision or "–"),
        ("on disk", path_cell(facts.directory, f"({size(facts.bytes)})")),
        ("card", path_cell(facts.card) if facts.card else "–"),
    )
    print_facts(lines)
    _show_retrieval(facts.retrieval)


def show_entry(entry: Entry) -> None:
    """Print what the catalogue says of a model that is not on this disk."""
    square = f"{entry.image_size} × {entry.image_size} pixels" if entry.image_size else ""
    texts = f"texts up to {entry.text_length} tokens" if entry.text_length else ""
    lines = (
        ("name", entry.name),
        ("good at", entry.good_at),
        ("embedding", f"{entry.dim} dimensions" if entry.dim else ""),
        ("input", ", ".join(filter(None, (square, texts)))),
        ("image tower", entry.image_tower or ""),
        ("licence", entry.licence or "none stated"),
        ("origin", entry.repository or "–"),
        ("published", f"for {entry.layout}" + (", once its terms are accepted on its page" if entry.gated else "")),
        ("download", size(entry.download_bytes) if entry.download_bytes else "–"),
    )
    print_facts([(name, value) for name, value in lines if value])
    _show_retrieval(entry.retrieval)


def _show_retrieval(figures: Sequence[Retrieval]) -> None:
    if not figures:
        return
    words = {"roco": "roco eval", "publisher": "publisher", "abstract": "abstract", "others": "others"}
    ks = sorted({k for figure in figures for k in figure.recall}, key=int)
    say("Published retrieval, recall in per cent:")
    print_rows(
        ("direction", "pool", *(f"R@{k}" for k in ks), "whose word", "images"),
        [
            (
                figure.direction,
                Unbroken(f"{figure.pool:,}" if figure.pool else "not stated"),
                *(Unbroken(figure.recall.get(k, "–")) for k in ks),
                words[figure.word],
                figure.images,
            )
            for figure in figures
        ],
        right=("pool", *(f"R@{k}" for k in ks)),
    )
    say("Figures of different images or pools cannot be compared with one another.")


def show_advice(advice: Advice, place: str) -> None:
    """Print advice for a person: what the library holds, the model, why, what it costs, how, and all candidates."""
    from roco_search.models.onnx_encoder import accelerator

    take = advice.take
    facts = [("library", _library(advice, place))]
    if take is None:
        facts.append(("take", "none: no model meets these conditions; the table says why"))
    else:
        keep = take.name == advice.model
        facts.append(("keep" if keep else "take", take.name))
        facts.append(("why", " ".join(advice.why)))
        facts += [] if keep else [("costs", _cost(advice, take))]
        facts += [("" if number else "run", command) for number, command in enumerate(advice.commands)]
    print_facts(facts)
    print_line()
    partial = any(found.fits < 1 for found in advice.candidates)
    print_rows(
        ("", "name", "R@10", "pool", "fits", "download", "embed", "memory", "licence", "why not"),
        [_candidate(found, advice, partial) for found in advice.candidates],
        right=("R@10", "pool", "fits", "download", "embed", "memory"),
    )
    say("R@10: published, on other images than yours; pools of different sizes cannot be compared.")
    if partial:
        say("fits: the share of the images of known modality that the model was made for.")
    say("~ is an estimate; – is not known, or not stated. Reading the files comes on top.")
    if accelerator() != "cpu":
        say("There is a graphics processor here: it will be faster than these times, which are those of the processor.")
    say("To be sure, measure with captions of your own: 'roco eval DATA --model A --against B'.")


def _library(advice: Advice, place: str) -> str:
    if advice.model is None:
        return f"none at {place} yet; times are for 1,000 images"
    known = sum(advice.modalities.values())
    held = ", ".join(f"{term} {100 * count / known:.0f} %" for term, count in advice.modalities.items())
    silent = advice.images - known
    if silent and known:
        held += f" of those whose header states it; of {silent:,} it does not"
    return f"{advice.images:,} images, embedded by {advice.model}: {held or 'no header states a modality'}"


def _cost(advice: Advice, take: Candidate) -> str:
    parts = []
    if take.download_bytes:
        parts.append(f"a download of {size(take.download_bytes)}")
    if take.seconds is not None:
        how = "measured" if take.measured else "an estimate"
        parts.append(f"{about(take.seconds)} to embed {advice.images:,} images ({how})")
    if take.memory_bytes:
        parts.append(f"about {size(take.memory_bytes)} of memory at most")
    return ", ".join(parts) or "not known"


def about(seconds: float) -> str:
    """Return a time in its largest unit: "40 s", "12 min", "5 h" or "3 days"."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{max(1, round(seconds / length))} {unit}"
    return f"{seconds / 86400:.0f} days"


def _candidate(found: Candidate, advice: Advice, partial: bool) -> tuple[str, ...]:
    star = "*" if found.name == advice.model else ">" if advice.take and found.name == advice.take.name else ""
    fetched = size(found.download_bytes) if found.download_bytes else "–"
    return (
        star,
        found.name,
        Unbroken("–" if found.recall_at_10 is None else f"{found.recall_at_10:.1f}"),
        Unbroken(f"{found.pool:,}" if found.pool else "–"),
        Unbroken(f"{100 * found.fits:.0f} %" if partial else ""),
        Unbroken("here" if found.on_disk else fetched),
        Unbroken("–" if found.seconds is None else ("" if found.measured else "~") + about(found.seconds)),
        Unbroken(f"~{size(found.memory_bytes)}" if found.memory_bytes else "–"),
        found.licence or "–",
        found.left_out,
    )
