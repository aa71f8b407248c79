"""What the tabs show, as HTML by the templates beside this file.

Other people choose the names of files and labels; `roco_search.figures.render` escapes them, along with whatever
Gradio's own templates would evaluate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from roco_search.figures import data_uri, render
from roco_search.search.hits import reasons

if TYPE_CHECKING:
    from markupsafe import Markup
    from PIL.Image import Image

    from roco_search.classify import Prediction
    from roco_search.library import Skipped
    from roco_search.library.reports import LibraryStatus
    from roco_search.search import Hit
    from roco_search.web.backend import Desk, Found
    from roco_search.web.chips import Chip

MOST_ROWS = 500  # of a table of files; `roco status` names all of them
SCRIPTS = ("gallery.js", "windowing.js", "stage.js", "panel.js", "tray.js", "viewer.js", "map.js")


def head(hands: Sequence[str] = ()) -> Markup:
    """Return what the page's head loads: our style sheet and scripts.

    `hands` is what the server does with chosen images: "paths" shows their paths, "files" copies their files.
    """
    return render("web/templates/head.html", scripts=SCRIPTS, hands=" ".join(hands))


def header() -> Markup:
    """Return what stands above the tabs."""
    return render("web/templates/header.html")


def note(text: str, *, error: bool = False) -> Markup:
    """Return one sentence for the person; a screen reader reads an error at once."""
    return render("web/templates/note.html", text=text, error=error)


def understood(chips: Sequence[Chip]) -> Markup:
    """Return what was understood of a query as buttons, each of which searches without that; nothing for no chips."""
    return render("web/templates/chips.html", chips=chips)


def cards(desk: Desk, found: Found) -> Markup:
    """Return the items of a gallery: a button for each hit, with its picture, score, modality and body part."""
    return render("web/templates/cards.html", cards=[_card(desk, frame_id, hit) for frame_id, hit in found.hits])


def gallery(items: str | Markup, label: str) -> str | Markup:
    """Return a gallery of `cards` with the sentence above it as its label; nothing if there are none."""
    return render("web/templates/gallery.html", cards=items, label=label) if items else ""


def _card(desk: Desk, frame_id: int, hit: Hit) -> dict[str, object]:
    name = desk.name(hit.path)
    facts = [
        " · ".join(term for term in (_modality(hit), _body_part(hit)) if term) or "modality not stated",
        *([f"frame {hit.frame + 1}/{hit.frames}"] if hit.frames > 1 else []),
        *([f"+{hit.more} in its {_group(hit)}"] if hit.more else []),
    ]
    captions = [piece for piece in hit.evidence if piece.source == "caption"]
    others = replace(hit, evidence=tuple(piece for piece in hit.evidence if piece not in captions))
    spoken = [*facts, *([f"{hit.match} match"] if hit.match else [])]
    spoken += [] if math.isnan(hit.score) else [f"score {hit.score:.3f}"]
    return {
        "id": frame_id,
        "name": name,
        "score": "" if math.isnan(hit.score) else f"{hit.score:.3f}",
        "facts": " · ".join(facts),
        "match": hit.match,
        "relevance": hit.relevance or 0,
        "why": " · ".join(reasons(others)),
        # Who hides file names, because they may name patients, does not want what may be said of these either.
        "said": None if desk.redact_paths else next((piece.says for piece in captions), None),
        "label": f"{hit.rank}. {', '.join(spoken)}, {name}",
    }


def _modality(hit: Hit) -> str | None:
    taken = None if hit.modality else (hit.taken_for or {}).get("modality")
    return _known(hit.modality or taken, guessed=hit.modality_guessed or taken is not None)


def _body_part(hit: Hit) -> str | None:
    taken = None if hit.body_part else (hit.taken_for or {}).get("body_part")
    return _known((hit.body_part or taken or "").lower(), guessed=hit.body_part_guessed or taken is not None)


def _group(hit: Hit) -> str:
    return "series" if hit.series else "file" if hit.frames > 1 else "case"


def _known(value: str | None, *, guessed: bool) -> str | None:
    return f"{value} (guess)" if value and guessed else value


def bars(prediction: Prediction) -> Markup:
    """Return the labels of an image with their probabilities as bars; a label with a heat map is a button."""
    return render(
        "web/templates/bars.html",
        exclusive=prediction.mode == "exclusive",
        prompts=_prompts(prediction),
        labels=prediction.labels,
    )


def _prompts(prediction: Prediction) -> str:
    from roco_search.vocabulary import prompt_sets

    sets = prompt_sets()
    if prediction.prompt_set not in sets:
        return ""
    title = sets[prediction.prompt_set].title
    how = "the model guessed the modality" if prediction.guessed else "as its header states"
    return f"Prompts for {title}: {how}."


def image(picture: Image, maps: Sequence[tuple[str, Image]], name: str) -> Markup:
    """Return an image, and over it the heat map of each label, one of which is shown."""
    drawn = [(label, data_uri(heat)) for label, heat in maps]
    return render("web/templates/image.html", image=data_uri(picture), maps=drawn, name=name)


def upload(name: str) -> Markup:
    """Return the name of an uploaded image."""
    return render("web/templates/upload.html", name=name)


def library(status: LibraryStatus, charts: Sequence[Markup]) -> Markup:
    """Return what a library holds: a few facts, and charts as SVG."""
    model = status.model
    facts = [
        ("Images", f"{status.frames:,} from {status.files:,} files"),
        ("Model", f"{model.model}, {model.dim} dimensions" if model else "none"),
        ("Unreadable files", f"{len(status.skipped):,}"),
    ]
    return render("web/templates/library.html", facts=facts, charts=charts)


def refused(desk: Desk, unreadable: Sequence[Skipped], not_images: Sequence[Skipped]) -> Markup:
    """Return the files that hold no image that could be read, and why."""
    return render(
        "web/templates/refused.html", unreadable=_files(desk, unreadable), not_images=_files(desk, not_images)
    )


def _files(desk: Desk, entries: Sequence[Skipped]) -> dict[str, object]:
    rows = [(desk.name(entry.path), entry.reason) for entry in entries[:MOST_ROWS]]
    return {"rows": rows, "more": f"{len(entries) - MOST_ROWS:,}" if len(entries) > MOST_ROWS else None}
