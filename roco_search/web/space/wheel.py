"""roco's own wheel, rebuilt from the installation: without network or build tool, and with installed files only.

The files of an installation from a wheel are those in its RECORD, and each must have the hash that RECORD gives. Those
of an editable installation (``pip install --editable``) are all in the package's folder. The metadata is the
installation's. Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import roco_search
from roco_search.errors import InputError

NAME, PACKAGE = "roco-search", "roco_search"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of the ZIP format: the same files always give the same wheel
_WHEEL = "Wheel-Version: 1.0\nGenerator: roco\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_INCOMPRESSIBLE = (".safetensors",)
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)")


def build_wheel(folder: Path) -> Path:
    """Write the wheel of this installation into a folder and return its path.

    Raises
    ------
    InputError
        If roco is not installed, or has changed since it was installed.
    """
    installed = _distribution()
    info = f"{PACKAGE}-{installed.version}.dist-info"
    files = dict(_package_files(installed))
    metadata = installed.read_text("METADATA")
    assert metadata is not None
    contents = {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": _WHEEL.encode()}
    if (scripts := installed.read_text("entry_points.txt")) is not None:
        contents[f"{info}/entry_points.txt"] = scripts.encode()
    for entry in installed.files or ():
        if str(entry).startswith(f"{info}/licenses/"):
            contents[str(entry)] = Path(str(entry.locate())).read_bytes()
    target = folder / f"{PACKAGE}-{installed.version}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(target, "w") as wheel:
        for name in sorted([*files, *contents]):
            data = contents[name] if name in contents else files[name].read_bytes()
            record.append(f"{name},sha256={_digest(data)},{len(data)}")
            _add(wheel, name, data)
        name = f"{info}/RECORD"
        _add(wheel, name, "\n".join([*record, f"{name},,", ""]).encode())
    return target


def requirements() -> list[str]:
    """Return the names of the packages that this installation requires, without those of extras."""
    lines = _distribution().requires or []
    return [_name(line) for line in lines if "extra ==" not in line]


def _distribution() -> Distribution:
    again = "install it again, for example with `pip install .` in a clone"
    try:
        found = distribution(NAME)
    except PackageNotFoundError:
        raise InputError(f"roco runs here without being installed, so its wheel cannot be built; {again}.") from None
    beside = Path(roco_search.__file__).parents[1] / "pyproject.toml"
    if found.version != roco_search.__version__ or (_is_editable(found) and not _is_fresh(found, beside)):
        raise InputError(f"roco has changed since it was installed; {again}.")
    return found


def _is_editable(found: Distribution) -> bool:
    return not any(entry.parts[0] == PACKAGE for entry in found.files or ())


def _is_fresh(found: Distribution, pyproject: Path) -> bool:
    """Whether the metadata names the packages that the project file requires now."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    wanted = {_name(line) for line in project["dependencies"]}
    return wanted == {_name(line) for line in found.requires or [] if "extra ==" not in line}


def _name(requirement: str) -> str:
    matched = _REQUIREMENT.match(requirement)
    assert matched is not None
    return re.sub(r"[-_.]+", "-", matched[1]).lower()


def _package_files(installed: Distribution) -> Iterator[tuple[str, Path]]:
    if _is_editable(installed):
        package = Path(roco_search.__file__).parent
        for path in package.rglob("*"):
            parts = path.relative_to(package).parts
            if path.is_file() and "__pycache__" not in parts and not any(part.startswith(".") for part in parts):
                yield f"{PACKAGE}/{'/'.join(parts)}", path
        return
    for entry in installed.files or ():
        if entry.parts[0] != PACKAGE or entry.hash is None:  # bytecode that pip compiled has no hash
            continue
        path = Path(str(entry.locate()))
        if entry.hash.mode != "sha256" or _digest(path.read_bytes()) != entry.hash.value:
            raise InputError(f"{path} has changed since it was installed; install roco again.")
        yield str(entry), path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _add(wheel: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.external_attr = 0o100644 << 16
    member.compress_type = zipfile.ZIP_STORED if name.endswith(_INCOMPRESSIBLE) else zipfile.ZIP_DEFLATED
    wheel.writestr(member, data)
