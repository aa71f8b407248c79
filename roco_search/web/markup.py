"""The HTML of the tabs. What somebody else may have chosen, file names above all, is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roco_search import figures

if TYPE_CHECKING:
    from PIL.Image import Image

    from roco_search.classify import Prediction
    from roco_search.library import Skipped
    from roco_search.search import Hit
    from roco_search.web.desk import Desk, Found

NOT_CLINICAL = "For research, not for clinical use."
MOST_ROWS = 500  # of a table of files; `roco status` names them all


def printable(text: str) -> str:
    """Return a text without control characters and undecodable bytes: these are shown escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def escape(text: str) -> str:
    """Return a text that stays text also in Gradio's templates, which read ``{{…}}`` and ``${…}``."""
    return figures.escape(text).replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;")


def header() -> str:
    """Return what stands above the tabs."""
    return (
        f'<header class="roco-header"><h1>roco</h1><p>Find radiology images in words, on this computer.</p>'
        f'<p class="roco-caution"><strong>{NOT_CLINICAL}</strong> Scores are similarities, and probabilities are the '
        "model's, not clinical ones.</p></header>"
    )


def note(text: str, *, error: bool = False) -> str:
    """Return one sentence for the person; an error is read aloud at once."""
    role, kind = ("alert", "roco-note roco-error") if error else ("status", "roco-note")
    return f'<p class="{kind}" role="{role}">{escape(text)}</p>'


def cards(desk: Desk, found: Found) -> str:
    """Return the items of a gallery: a button a hit, with its picture, score, modality and body part."""
    return "".join(_card(desk, frame_id, hit) for frame_id, hit in found.hits)


def gallery(items: str) -> str:
    """Return a gallery of `cards`."""
    if not items:
        return ""
    keys = "Arrow keys move, Enter opens, Escape closes."
    return f'<p class="roco-hidden" id="roco-keys">{keys}</p><ol class="roco-cards" role="list">{items}</ol>'


def known(value: str | None, *, guessed: bool) -> str | None:
    """Return a term for a person, marked where it is a guess."""
    return f"{value} (guess)" if value and guessed else value


def _card(desk: Desk, frame_id: int, hit: Hit) -> str:
    name = desk.name(hit.path)
    body_part = known(hit.body_part and hit.body_part.lower(), guessed=hit.body_part_guessed)
    modality = known(hit.modality, guessed=hit.modality_guessed)
    facts = [
        " · ".join(term for term in (modality, body_part) if term) or "its header says nothing",
        f"frame {hit.frame + 1}/{hit.frames}" if hit.frames > 1 else None,
        f"+{hit.more} in its group" if hit.more else None,
    ]
    said = ", ".join(fact for fact in facts if fact)
    return (
        f'<li><button type="button" class="roco-card" data-id="{frame_id}" title="{escape(name)}" '
        f'aria-label="{escape(f"{hit.rank}. {said}, score {hit.score:.3f}, {name}")}" aria-describedby="roco-keys">'
        f'<span class="roco-picture"><img src="/roco/image/{frame_id}.jpg?size=320" alt="" loading="lazy" '
        f'decoding="async"></span><span class="roco-facts"><b>{hit.score:.3f}</b> '
        f'{escape(" · ".join(fact for fact in facts if fact))}<span class="roco-name">{escape(name)}</span></span>'
        "</button></li>"
    )


def bars(prediction: Prediction) -> str:
    """Return the labels of an image with their probabilities as bars; a label with a heat map is a button."""
    exclusive = prediction.mode == "exclusive"
    rows = "".join(
        f'<li><button type="button" class="roco-bar" data-map="{number}" aria-pressed="{str(number == 0).lower()}">'
        f'<span class="roco-label">{escape(entry.label)}</span>'
        f'<span class="roco-track" aria-hidden="true"><span style="width:{100 * entry.probability:.1f}%"></span></span>'
        f'<span class="roco-value">{100 * entry.probability:.1f} %</span>'
        f'<span class="roco-cosine">cosine {entry.score:.3f}</span></button></li>'
        for number, entry in enumerate(prediction.labels)
    )
    mode = "One of these: the probabilities add up to 100 %." if exclusive else "Each for itself, against its opposite."
    return f'<p class="roco-quiet">{mode} {_prompts(prediction)}</p><ol class="roco-bars" role="list">{rows}</ol>'


def _prompts(prediction: Prediction) -> str:
    from roco_search.vocabulary.prompt_sets import prompt_sets

    sets = prompt_sets()
    if prediction.prompt_set not in sets:
        return ""
    title = sets[prediction.prompt_set].title
    how = "the model took it for such an image" if prediction.guessed else "its header says so"
    return escape(f"Prompts for {title} were used: {how}.")


def looked_at(picture: Image, maps: Sequence[tuple[str, Image]], name: str) -> str:
    """Return an image, and over it the heat map of each label, of which one is shown."""
    layers = [_layer(figures.picture(picture, f"The image {name}"), "plain", shown=not maps)]
    layers += [
        _layer(figures.picture(image, f"Heat map of {label}"), str(number), shown=number == 0)
        for number, (label, image) in enumerate(maps)
    ]
    caption = (
        "Red: where covering the image costs the label most; blue: where it gains. It shows what the model looked at; "
        "it is no outline of a finding."
        if maps
        else ""
    )
    button = (
        '<button type="button" class="roco-plain" aria-pressed="false">Show the image alone</button>' if maps else ""
    )
    words = f"<figcaption>{escape(name)}<br>{caption}</figcaption>"
    return f'<figure class="roco-looked">{"".join(layers)}{words}{button}</figure>'


def _layer(image: str, key: str, *, shown: bool) -> str:
    return f'<div data-layer="{key}"{"" if shown else " hidden"}>{image}</div>'


def table(desk: Desk, entries: Sequence[Skipped], nothing: str) -> str:
    """Return a table of files and reasons."""
    if not entries:
        return f'<p class="roco-quiet">{escape(nothing)}</p>'
    rows = "".join(
        f"<tr><td>{escape(desk.name(entry.path))}</td><td>{escape(entry.reason)}</td></tr>"
        for entry in entries[:MOST_ROWS]
    )
    rest = len(entries) - MOST_ROWS
    more = f"<p>… and {rest:,} more; <code>roco status</code> names them all.</p>" if rest > 0 else ""
    return (
        '<div class="roco-scroll" tabindex="0" role="region" aria-label="Files"><table class="roco-table"><thead><tr>'
        f'<th scope="col">file</th><th scope="col">reason</th></tr></thead><tbody>{rows}</tbody></table></div>{more}'
    )
