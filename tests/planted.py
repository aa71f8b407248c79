"""The canaries of ``scripts/proofs``, for tests: words that nobody would write by chance, planted into files."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def canaries() -> Any:
    """The module; ``scripts`` is no package."""
    spec = spec_from_file_location("canaries", Path(__file__).parents[1] / "scripts" / "proofs" / "canaries.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules.setdefault("canaries", module_from_spec(spec))
    if not hasattr(module, "Planter"):
        spec.loader.exec_module(module)
    return module
