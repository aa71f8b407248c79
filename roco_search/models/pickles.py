"""A pickle of weights becomes safetensors, in a process of its own; nothing else in roco ever reads a pickle.

A pickle is a program. torch's restricted reader (``weights_only``) runs the few instructions that make tensors and
refuses all others; so that a fault in it costs nothing either, it runs in a child (`pickles_worker`) that can open no
connection, start no program, write no file but one, and take little more memory than the file is long.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from roco_search.errors import UnsupportedModel
from roco_search.system.files import write_error

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""The names by which pickles of weights are published."""

# `-P`: a module in the current folder must never be imported. Where this package is found may be something that only
# this process knows, so it is said.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from roco_search.models.pickles_worker import main; main()"
_ROOT = Path(__file__).parents[2]
_SECONDS, _BYTES_A_SECOND = 120.0, 10e6
_BECAUSE = {
    "memory": "unpacks to more than its own size, as no weights do",
    "compressed": "is a compressed archive, which torch never writes",
    "script": "is a TorchScript program, not a state dict",
    "damaged": "is damaged, or is no file of weights that torch wrote",
    "empty": "holds no tensors",
    "forbidden": "tries to do something other than to be read",
}


def to_safetensors(source: Path, target: Path) -> None:
    """Write the tensors of a pickle, by their names, as a safetensors file; nothing is left of one that is refused.

    Parameters
    ----------
    source
        What ``torch.save`` wrote: a dictionary of tensors, or one that holds it as ``state_dict`` or ``model``.
    target
        The file to write.

    Raises
    ------
    UnsupportedModel
        If it holds anything but tensors, with the name of what it asks for.
    StorageFull, InputError
    """
    command = [sys.executable, "-P", "-c", _PROGRAM, str(_ROOT), str(source), str(target)]
    patience = _SECONDS + source.stat().st_size / _BYTES_A_SECOND
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False, env=_environment()
        )
        answer = _answer(done.stdout)
    except subprocess.TimeoutExpired:
        answer = {"refused": "forbidden"}
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if answer.get("written"):
        return
    target.unlink(missing_ok=True)
    if number := answer.get("errno"):
        raise write_error(OSError(number, answer.get("reason", "")), target.parent)
    raise UnsupportedModel(f"{source} {_reason(answer)}, so nothing of it was taken; {_REMEDY}")


_REMEDY = "take a copy in safetensors, or from another source."


def _reason(answer: dict[str, Any]) -> str:
    name = str(answer.get("name", ""))[:120].encode("unicode_escape").decode("ascii")
    if answer.get("refused") == "global":
        return f"needs {name} to be opened, and weights need nothing but tensors"
    if answer.get("refused") == "value":
        return f"holds {name}"
    return _BECAUSE.get(str(answer.get("refused")), _BECAUSE["damaged"])


def _answer(text: bytes) -> dict[str, Any]:
    """Return what the child said last; one that ended without a word was ended by what it read."""
    try:
        answer = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        return {"refused": "damaged"}
    return answer if isinstance(answer, dict) else {"refused": "damaged"}


def _environment() -> dict[str, str]:
    """Return this process's environment without what could hold a secret."""
    import os

    secret = ("TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIAL")
    kept = {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in secret)}
    return {**kept, "OMP_NUM_THREADS": "1"}
