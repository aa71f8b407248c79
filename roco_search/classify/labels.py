"""What an image may be called: labels, how they are read, and what their words mean.

Labels come from a text, between commas, or from a file: one a line, or YAML with prompts. A typo in YAML is refused
with its line.

A label is understood before it is negated. A negated prompt inverts a negative label: against "no no finding", an
image without a finding scores low, and the AUC of "No Finding" came out as 0.07 (CheXzero, rajpurkarlab/CheXzero#19).
So `meaning` says whether a label names a finding, its absence, a normal image, or what is imaged at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roco_search.errors import InputError
from roco_search.vocabulary import Words, words

if TYPE_CHECKING:
    from yaml import Node

Mode = Literal["exclusive", "multi-label"]
KEYS = ("positive", "negative", "aliases")
_FORM = "a label is followed by a list of prompts, or by positive:, negative: or aliases: with a list each"


@dataclass(frozen=True, slots=True)
class Label:
    """What an image may be called.

    Attributes
    ----------
    name
        As the user wrote it.
    positive, negative
        The user's own prompts, used word for word; where empty, those of the prompt sets are used.
    aliases
        Other names under which a truth file knows it.
    """

    name: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def split_labels(texts: Iterable[str]) -> list[Label]:
    """Return the labels of comma-separated texts, such as ``["normal,pneumonia", "pleural effusion"]``."""
    return [Label(" ".join(part.split())) for text in texts for part in text.split(",") if part.strip()]


def check_labels(labels: Sequence[Label], mode: Mode) -> None:
    """Refuse labels that cannot be distinguished.

    Raises
    ------
    InputError
        If there is none, only one where they exclude each other, or one twice (case does not matter).
    """
    if mode not in {"exclusive", "multi-label"}:
        raise InputError(f"{mode!r} is not a mode; it is exclusive or multi-label.")
    if not labels:
        raise InputError('There is no label; give some, such as --labels "normal,pneumonia".')
    seen: dict[str, str] = {}
    for label in labels:
        for name in (label.name, *label.aliases):
            key = fold(name)
            if not key:
                raise InputError("A label is empty; give each a name.")
            if key in seen:
                raise InputError(f"The label {name!r} is given twice; leave one of them out.")
            seen[key] = name
    if len(labels) == 1 and mode == "exclusive":
        raise InputError(
            f"One label alone always gets probability 1; add what else the image could be, such as "
            f'--labels "{labels[0].name},normal", or use --multi-label to set it against its absence.'
        )


def fold(name: str) -> str:
    """Return the form in which names are compared: case, spaces, hyphens and underscores do not matter."""
    return " ".join(re.sub(r"[\s_\-]+", " ", name).casefold().split())


def read_labels(path: Path) -> list[Label]:
    """Read labels from a file.

    ``.yaml`` and ``.yml`` hold a list of labels, or a mapping of each label to its prompts: a list, or lists named
    ``positive``, ``negative`` and ``aliases`` (other names in a truth file). Any other file holds a label a line;
    lines that begin with ``#`` are comments.

    Raises
    ------
    InputError
        If the file cannot be read, or a line of it cannot be understood.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"There is no labels file {path}; check the path.") from None
    except (OSError, UnicodeDecodeError):
        raise InputError(f"The labels file {path} cannot be read as text; save it as UTF-8.") from None
    if path.suffix.lower() in {".yaml", ".yml"}:
        labels = _Yaml(path).labels(text)
    else:
        lines = (" ".join(line.split()) for line in text.splitlines())
        labels = [Label(line) for line in lines if line and not line.startswith("#")]
    if not labels:
        raise InputError(f"The labels file {path} holds no label; write one on each line.")
    return labels


class _Yaml:
    """Labels out of YAML; knows the path for its refusals."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def labels(self, text: str) -> list[Label]:
        """Return the labels of a document."""
        import yaml

        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark else ""
            raise InputError(
                f"{self._path}{line}: this is not YAML ({error.problem}); check indentation, colons and quotes there."
            ) from None
        except yaml.YAMLError:
            raise InputError(f"{self._path} is not YAML text; save it as plain UTF-8.") from None
        except RecursionError:
            raise InputError(f"{self._path} is nested too deeply; {_FORM}.") from None
        if root is None:
            return []
        if isinstance(root, yaml.SequenceNode):
            return [Label(self._text(node)) for node in root.value]
        if not isinstance(root, yaml.MappingNode):
            raise self._refusal(root, "expected labels with their prompts; " + _FORM)
        seen: dict[str, int] = {}
        labels = []
        for key, value in root.value:
            name = self._text(key)
            if first := seen.get(fold(name)):
                raise self._refusal(
                    key, f"the label {name!r} is given twice, first in line {first}; remove one of them"
                )
            seen[fold(name)] = key.start_mark.line + 1
            labels.append(self._label(name, value))
        return labels

    def _label(self, name: str, value: Node) -> Label:
        import yaml

        if isinstance(value, yaml.SequenceNode):
            return Label(name, positive=self._texts(value, name))
        if isinstance(value, yaml.MappingNode):
            lists: dict[str, tuple[str, ...]] = {}
            for key, entry in value.value:
                word = self._text(key)
                if word not in KEYS:
                    raise self._refusal(key, f"{word!r} under the label {name!r} is not known; {_hint(word)}")
                if word in lists:
                    raise self._refusal(key, f"{word!r} is there twice under the label {name!r}; join the two lists")
                lists[word] = self._texts(entry, word)
            return Label(name, **lists)
        if value.tag == "tag:yaml.org,2002:null":
            return Label(name)
        return Label(name, positive=(self._text(value),))

    def _texts(self, node: Node, of: str) -> tuple[str, ...]:
        import yaml

        if isinstance(node, yaml.SequenceNode):
            if not node.value:
                raise self._refusal(node, f"the list of {of!r} is empty; write a prompt or remove it")
            return tuple(self._text(entry) for entry in node.value)
        return (self._text(node),)

    def _text(self, node: Node) -> str:
        import yaml

        if not isinstance(node, yaml.ScalarNode):
            raise self._refusal(node, f"expected a text here; {_FORM}")
        text = " ".join(node.value.split())
        if not text or node.tag == "tag:yaml.org,2002:null":
            raise self._refusal(node, "a text is missing here; write a label or a prompt")
        return text

    def _refusal(self, node: Node, problem: str) -> InputError:
        return InputError(f"{self._path}, line {node.start_mark.line + 1}: {problem}.")


def _hint(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), KEYS, n=1)
    return f"did you mean {near[0]!r}?" if near else f"write {', '.join(KEYS[:-1])} or {KEYS[-1]}"


Kind = Literal["finding", "absence", "normal", "abnormal", "subject"]
"""What a label says: something is seen ("pneumonia"), that is not seen ("no tumor"), nothing is wrong ("normal"),
something is wrong ("abnormal"), or what is imaged ("CT", "hand")."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The kind of a label, and for an absence what is absent (else the label itself)."""

    kind: Kind
    of: str


@cache
def meaning(name: str) -> Meaning:
    """Return what a label says, by its words (``vocabulary/words.yaml``).

    >>> meaning("Normal lungs").kind, meaning("no tumor"), meaning("normal pressure hydrocephalus").kind
    ('normal', Meaning(kind='absence', of='tumor'), 'finding')
    """
    known = words()
    text = fold(name)
    if kind := _plain(text, known):
        return Meaning(kind, name)
    negated = _negated(text, known)
    if negated is None:
        return Meaning("finding", name)
    inner = _plain(negated, known)
    if inner in {"normal", "abnormal"}:
        return Meaning("normal" if inner == "abnormal" else "abnormal", name)
    return Meaning("absence", negated)


def _plain(text: str, known: Words) -> Kind | None:
    """Return the kind of a text without negation; None if it names a finding or is negated."""
    # "within normal limits", "no acute cardiopulmonary disease": what is left besides the neutral words decides.
    telling = {word.strip(".,;:()") for word in text.split()} - known.neutral - {""}
    if not telling:
        return None
    normal, abnormal = telling & known.normal, telling & known.abnormal
    rest = telling - known.normal - known.abnormal - known.subjects
    # "lung disease" names what is wrong more closely than "disease": a finding.
    if rest or (abnormal and telling - abnormal):
        return None
    if normal or abnormal:
        return "normal" if normal else "abnormal"
    return "subject"


def _negated(text: str, known: Words) -> str | None:
    """Return what a negation in the text denies; None if there is no negation."""
    for negation in sorted(known.negations, key=len, reverse=True):
        if text.startswith(negation + " "):
            return text.removeprefix(negation).strip()
    for negation in known.negations_behind:
        if text.endswith(" " + negation):
            return text.removesuffix(negation).strip()
    return None
