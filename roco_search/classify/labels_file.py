"""Labels from a file: a label a line, or YAML with prompts.

The YAML is read as nodes, not as values: so every refusal names its line, a label given twice is seen (a YAML loader
keeps the last one without a word), and labels such as ``no`` and ``12`` stay texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import InputError

from .labels import Label, fold

if TYPE_CHECKING:
    from yaml import Node

KEYS = ("positive", "negative", "aliases")
_FORM = "a label is followed by a list of prompts, or by positive:, negative: or aliases: with a list each"


def read_labels(path: Path) -> list[Label]:
    """Read labels from a file.

    ``.yaml`` and ``.yml`` hold a list of labels, or a mapping of each label to its prompts: a list, or lists named
    ``positive``, ``negative`` and ``aliases`` (other names in a truth file). Any other file holds a label a line;
    lines that begin with ``#`` are passed over.

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
