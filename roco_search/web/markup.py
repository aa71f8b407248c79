"""What the tabs show, as HTML by the templates beside this file.

Other people choose the names of files and labels; `roco_search.figures.render` escapes them, along with whatever
Gradio's own templates would evaluate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from roco_search.figures import data_uri, render
from roco_search.search.hits import reasons
from roco_search.vocabulary.concepts import spoken_term

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from markupsafe import Markup
    from PIL.Image import Image

    from roco_search.classify import Prediction
    from roco_search.library import Skipped
    from roco_search.library.reports import LibraryStatus
    from roco_search.search import Hit
    from roco_search.web.asking import Found
    from roco_search.web.backend import Desk
    from roco_search.web.brought import Upload
    from roco_search.web.chips import Chip

MOST_ROWS = 500  # of a table of files; `roco status` names all of them
SMALL, MOST_IN_A_ROW = 96, 3  # pixels and labels of one of several classified images
LARGEST_SHOWN = 480  # pixels of an uploaded image beside the hits
SCRIPTS = (
    "gallery.js", "address.js", "crop.js", "windowing.js", "stage.js", "panel.js", "feed.js", "tray.js", "viewer.js",
    "map.js", "theme.js",
)  # fmt: skip


def head(library: str, hands: Sequence[str] = ()) -> Markup:
    """Return what the page's head loads: our style sheet and scripts.

    `library` is what the page knows the library by, so that it never takes what it kept of one for that of another.
    `hands` is what the server does with chosen images: "paths" shows their paths, "files" copies their files.
    """
    return render("web/templates/head.html", scripts=SCRIPTS, library=library, hands=" ".join(hands))


def header() -> Markup:
    """Return what stands above the tabs."""
    return render("web/templates/header.html")


def note(text: str, *, error: bool = False) -> Markup:
    """Return one sentence for the person; a screen reader reads an error at once."""
    return render("web/templates/note.html", text=text, error=error)


def understood(chips: Sequence[Chip]) -> Markup:
    """Return what was understood of a query as buttons, each of which searches without that; nothing for no chips."""
    return render("web/templates/chips.html", chips=chips)


def cards(desk: Desk, found: Found, headings: Sequence[str] = ()) -> Markup:
    """Return the items of a gallery: a button for each hit, with its picture, score, modality and body part.

    `headings` says under which heading each hit stands; one that it shares with the hit before is not repeated.
    """
    shown, before = [], ""
    for (frame_id, hit), heading in zip(found.hits, headings or [""] * len(found.hits), strict=True):
        shown.append({**_card(desk, frame_id, hit), "heading": heading if heading != before else ""})
        before = heading
    return render("web/templates/cards.html", cards=shown)


def gallery(items: Markup, label: str, address: str, *, more: bool) -> Markup:
    """Return a gallery of `cards`.

    Parameters
    ----------
    items
        The cards.
    label
        The sentence above them.
    address
        The search as it stands in the page's address.
    more
        Whether there are more hits than these.
    """
    return render("web/templates/gallery.html", cards=items, label=label, address=address, more=more)


def start(
    suggestions: Sequence[str], order: str, orders: Mapping[str, str], kept: Sequence[tuple[str, str]] = ()
) -> Markup:
    """Return what stands above the pictures before anything is asked: queries to try, and the order.

    `kept` has the name and address of each search whose marks were kept.
    """
    tried = [(text, f"?{urlencode({'q': text})}") for text in suggestions]
    return render("web/templates/start.html", suggestions=tried, order=order, orders=orders, kept=kept)


def _card(desk: Desk, frame_id: int, hit: Hit) -> dict[str, object]:
    name = desk.name(hit.path)
    facts = [
        *([f"frame {hit.frame + 1}/{hit.frames}"] if hit.frames > 1 else []),
        *([f"+{hit.more} in its {_group(hit)}"] if hit.more else []),
    ]
    captions = [piece for piece in hit.evidence if piece.source == "caption"]
    others = replace(hit, evidence=tuple(piece for piece in hit.evidence if piece not in captions))
    spoken = [_kind(hit, " (guess)"), *facts, *([f"{hit.match} match"] if hit.match else [])]
    spoken += [] if math.isnan(hit.score) else [f"score {hit.score:.3f}"]
    return {
        "id": frame_id,
        "name": name,
        "score": "" if math.isnan(hit.score) else f"{hit.score:.3f}",
        "kind": _kind(hit, "?"),
        "facts": " · ".join(facts),
        "match": hit.match,
        "relevance": hit.relevance or 0,
        "why": " · ".join(reasons(others)),
        # Who hides file names, because they may name patients, does not want what may be said of these either.
        "said": None if desk.redact_paths else next((piece.says for piece in captions), None),
        "label": f"{hit.rank}. {', '.join(spoken)}, {name}",
    }


def kind(hit: Hit) -> str:
    """Return modality and body part of a hit as people say them."""
    terms = (("modality", hit.modality), ("body_part", hit.body_part))
    return " · ".join(spoken_term(name, term) for name, term in terms if term)


def _kind(hit: Hit, mark: str) -> str:
    """Return modality and body part as people say them, with a mark after what the model supplied."""
    taken, said = hit.taken_for or {}, []
    for name, term, guessed in (
        ("modality", hit.modality, hit.modality_guessed),
        ("body_part", hit.body_part, hit.body_part_guessed),
    ):
        if word := spoken_term(name, term) if term else taken.get(name):
            said.append(f"{word}{mark if guessed or not term else ''}")
    return " · ".join(said)


def _group(hit: Hit) -> str:
    return "series" if hit.series else "file" if hit.frames > 1 else "case"


def bars(prediction: Prediction) -> Markup:
    """Return the labels of an image with their probabilities as bars; a label with a heat map is a button."""
    return render(
        "web/templates/bars.html",
        exclusive=prediction.mode == "exclusive",
        prompts=_prompts(prediction),
        labels=prediction.labels,
    )


def rows(images: Sequence[tuple[str, npt.NDArray[np.uint8]]], predictions: Sequence[Prediction], chosen: int) -> Markup:
    """Return one row for each classified image, with its title and pixels: a button that shows it."""
    from PIL import Image

    shown = []
    for (title, pixels), prediction in zip(images, predictions, strict=True):
        picture = Image.fromarray(pixels)
        picture.thumbnail((SMALL, SMALL))
        shown.append({"title": title, "image": data_uri(picture), "labels": prediction.labels[:MOST_IN_A_ROW]})
    return render("web/templates/rows.html", rows=shown, chosen=chosen)


def refusals(sentences: Sequence[str]) -> Markup:
    """Return why files could not be used, one sentence each; nothing if all could."""
    return render("web/templates/refusals.html", sentences=sentences)


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


def upload(brought: Upload) -> Markup:
    """Return an uploaded image as a picture of which a region can be chosen."""
    from PIL import Image

    picture = Image.fromarray(brought.pixels) if brought.pixels is not None else None
    if picture is not None:
        picture.thumbnail((LARGEST_SHOWN, LARGEST_SHOWN))
    region = [f"{100 * share:.1f}" for share in brought.region or (0, 0, 1, 1)]
    return render(
        "web/templates/upload.html", name=brought.name, image=picture and data_uri(picture), region=region,
        cropped=brought.region is not None,
    )  # fmt: skip


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
