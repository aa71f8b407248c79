"""What the shell offers while a command is typed. Nothing is imported before that, and then nothing heavy."""

from __future__ import annotations

Offer = list[tuple[str, str]]
"""Values, each with what the shell may print beside it."""


def modalities(incomplete: str) -> Offer:
    """Offer what ``--modality`` takes: DICOM's codes of pictures, and the words for them."""
    from roco_search.vocabulary import image_classes

    classes = image_classes("modality")
    codes = [(term, entry.name) for entry in classes for term in entry.terms]
    return _starting(incomplete, [*codes, *((entry.name, "") for entry in classes if entry.terms)])


def body_parts(incomplete: str) -> Offer:
    """Offer what ``--body-part`` takes most often; every term of DICOM PS3.16 Annex L is taken."""
    from roco_search.vocabulary import image_classes

    terms = {term.lower() for entry in image_classes("body_part") for term in entry.terms}
    return _starting(incomplete, [(term, "") for term in sorted(terms)])


def views(incomplete: str) -> Offer:
    """Offer what ``--view`` takes most often."""
    return _starting(incomplete, [(view, "") for view in ("AP", "PA", "lateral", "frontal", "oblique", "CC", "MLO")])


def groupings(incomplete: str) -> Offer:
    """Offer what ``--group-by`` takes."""
    return _starting(incomplete, [(name, f"one hit a {name}") for name in ("series", "study", "file")] + [("none", "")])


def devices(incomplete: str) -> Offer:
    """Offer what ``--device`` takes."""
    return _starting(incomplete, [(name, "") for name in ("auto", "cpu", "cuda", "mps")])


def installed_models(incomplete: str) -> Offer:
    """Offer the models on this disk."""
    from roco_search.models.catalogue.installed import installed_names
    from roco_search.models.catalogue.registry import DEFAULT, entries

    names = dict.fromkeys([DEFAULT, *installed_names()])
    return _starting(incomplete, [(name, entries()[name].good_at if name in entries() else "") for name in names])


def catalogue_models(incomplete: str) -> Offer:
    """Offer the models that can be pulled."""
    from roco_search.models.catalogue.registry import entries

    return _starting(incomplete, [(entry.name, entry.good_at) for entry in entries().values() if entry.repository])


def _starting(incomplete: str, offers: Offer) -> Offer:
    """Keep the values that begin with what was typed, in either case, and write them in the case of what was typed."""
    typed = incomplete.lower()
    fitting = [(value, about) for value, about in offers if value.lower().startswith(typed)]
    return [(incomplete + value[len(incomplete) :], about) for value, about in fitting]
