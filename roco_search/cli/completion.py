"""What the shell offers while a command is typed. Nothing is imported before a key is pressed, and then nothing heavy."""

from __future__ import annotations

Offer = list[tuple[str, str]]
"""Values, each with what the shell may print beside it."""


def modalities(incomplete: str) -> Offer:
    """Offer what ``--modality`` takes: DICOM's codes of pictures, and the words for them."""
    from roco_search.search.spoken import MODALITY_NAMES

    return _starting(incomplete, [(code, name) for code, name in MODALITY_NAMES.items()])


def body_parts(incomplete: str) -> Offer:
    """Offer what ``--body-part`` takes: the terms of DICOM PS3.16 Annex L."""
    from roco_search.imaging.dicom.terms import BODY_PARTS

    return _starting(incomplete, [(term, "") for term in sorted(BODY_PARTS)])


def views(incomplete: str) -> Offer:
    """Offer what ``--view`` takes."""
    from roco_search.imaging.dicom.terms import VIEW_ALIASES, VIEWS

    return _starting(incomplete, [(term, "") for term in sorted({*VIEWS, *VIEW_ALIASES.values()})])


def groupings(incomplete: str) -> Offer:
    """Offer what ``--group-by`` takes."""
    return _starting(incomplete, [(name, f"one hit a {name}") for name in ("series", "study", "file")] + [("none", "")])


def devices(incomplete: str) -> Offer:
    """Offer what ``--device`` takes."""
    return _starting(incomplete, [(name, "") for name in ("auto", "cpu", "cuda", "mps")])


def installed_models(incomplete: str) -> Offer:
    """Offer the models on this disk."""
    return []


def catalogue_models(incomplete: str) -> Offer:
    """Offer the models that can be pulled."""
    return []


def manual_topics(incomplete: str) -> Offer:
    """Offer the chapters of the manual: the Markdown files of `roco_search.manual`."""
    from importlib.resources import files

    folder = files("roco_search") / "manual"
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return _starting(incomplete, [(name.removesuffix(".md"), "") for name in sorted(names) if name.endswith(".md")])


def _starting(incomplete: str, offers: Offer) -> Offer:
    """Keep what begins with the letters typed so far, in either case, and write it in the case that was begun."""
    typed = incomplete.lower()
    fitting = [(value, about) for value, about in offers if value.lower().startswith(typed)]
    return [(incomplete + value[len(incomplete) :], about) for value, about in fitting]
