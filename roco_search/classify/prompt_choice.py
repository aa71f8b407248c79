"""Which prompts represent a label on which image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roco_search.classify.labels import Label, fold, meaning
from roco_search.errors import InputError
from roco_search.vocabulary import GENERAL, PromptSet, prompt_sets, subject_prompts

OWN = "own"
"""Name of the prompt set where no prompt depends on the kind of image: all are general or the person's own."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The texts that represent a label, and those that represent its opposite."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def check_templates(templates: Sequence[str]) -> None:
    """Refuse a template in which the label has no place.

    Raises
    ------
    InputError
    """
    for template in templates:
        if "{}" not in template:
            raise InputError(
                f"The template {template!r} has no {{}} for the label; write it such as 'a chest x-ray of {{}}'."
            )


def prompts_for(label: Label, chosen: PromptSet, templates: Sequence[str] = ()) -> Prompts:
    """Return the prompts of a label on images of one kind.

    The person's own prompts come first; then `templates`, filled with the label and with its opposite; then those
    of the prompt set. The opposite of a finding is its absence, of an absence its presence, of a normal image an
    abnormal one.
    """
    default = _from_templates(label, templates) if templates else _from_set(label, chosen)
    return Prompts(label.positive or default.positive, label.negative or default.negative)


def prompts_of_each(
    labels: Sequence[Label], chosen: PromptSet, templates: Sequence[str] = (), *, both_sides: bool
) -> list[Prompts]:
    """Return the prompts of labels on images of one kind.

    With ``both_sides``, where a label and its opposite are given together ("pneumonia" and "no pneumonia", "normal" and
    "abnormal"), what stands for the one stands against the other, so that their probabilities add up to one. A person's
    own prompts of either take precedence.
    """
    found = [prompts_for(label, chosen, templates) for label in labels]
    for one, other in _opposites(labels) if both_sides else ():
        first, second = labels[one], labels[other]
        found[one] = Prompts(
            first.positive or second.negative or found[one].positive,
            first.negative or second.positive or found[one].negative,
        )
        found[other] = Prompts(second.positive or found[one].negative, second.negative or found[one].positive)
    return found


def _opposites(labels: Sequence[Label]) -> list[tuple[int, int]]:
    """Return the places of labels that are each other's opposites, that of the finding or of "normal" first."""
    said = [meaning(label.name) for label in labels]
    normal = next((place for place, entry in enumerate(said) if entry.kind == "normal"), None)
    names = {fold(name): place for place, label in enumerate(labels) for name in (label.name, *label.aliases)}
    found = []
    for place, entry in enumerate(said):
        if entry.kind == "absence" and (one := names.get(fold(entry.of), place)) != place:
            found.append((one, place))
        elif entry.kind == "abnormal" and normal is not None:
            found.append((normal, place))
    return found


def _from_templates(label: Label, templates: Sequence[str]) -> Prompts:
    said = meaning(label.name)
    opposite = {
        "finding": f"no {said.of}",
        "absence": said.of,
        "normal": "abnormality",
        "abnormal": "no abnormality",
        "subject": f"no {said.of}",
    }[said.kind]
    return Prompts(_fill(templates, label.name), _fill(templates, opposite))


def _from_set(label: Label, chosen: PromptSet) -> Prompts:
    said = meaning(label.name)
    if said.kind == "subject":
        templates = subject_prompts()
        return Prompts(_fill(templates.present, label.name), _fill(templates.absent, label.name))
    if said.kind in {"normal", "abnormal"}:
        templates = chosen.normal
        sides = (
            (templates.present, templates.absent) if said.kind == "normal" else (templates.absent, templates.present)
        )
        # Only the side that the label names repeats its own words: "Chest X-ray, normal." says nothing of "abnormal".
        return Prompts(_fill(sides[0], label.name), tuple(text for text in sides[1] if "{}" not in text))
    templates = chosen.finding
    if said.kind == "finding":
        return Prompts(_fill(templates.present, said.of), _fill(templates.absent, said.of))
    # "Chest X-ray." may stand against a finding, but it does not say that the finding is absent.
    absent = [text for text in templates.absent if "{}" in text]
    return Prompts(_fill(absent, said.of), _fill(templates.present, said.of))


def _fill(templates: Sequence[str], text: str) -> tuple[str, ...]:
    # Not str.format: a label or a template may hold other braces.
    return tuple(template.replace("{}", text) for template in templates)


def depends_on_image(labels: Sequence[Label], templates: Sequence[str], both_sides: bool) -> bool:
    """Whether any prompt depends on the kind of image, so that the kind has to be known."""
    return not templates and any(
        not (label.positive and (label.negative or not both_sides)) and meaning(label.name).kind != "subject"
        for label in labels
    )


def fitting(modality: str, body_part: str | None) -> list[PromptSet]:
    """Return the prompt sets for images of a modality: several where the body part decides between them and is None.

    A modality without a set of its own gets the general one.
    """
    found = [entry for entry in prompt_sets().values() if modality in entry.modalities]
    if body_part is not None:
        exact = [entry for entry in found if body_part in entry.body_parts]
        found = exact or [entry for entry in found if not entry.body_parts]
    return found or [prompt_sets()[GENERAL]]
