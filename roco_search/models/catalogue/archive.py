"""A model as one file, to carry it to a machine without a network: an uncompressed zip of its files and a manifest.

The manifest holds the SHA-256 of every file and the model's fingerprint. They reveal damage. They do not show who made
the archive: for that, compare the fingerprint that ``export`` prints with the one that ``import`` prints.
"""

from __future__ import annotations

import errno
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from struct import error as StructError
from typing import IO

from roco_search.errors import InputError, RocoError, UnsupportedModel
from roco_search.models.catalogue import installed, registry
from roco_search.models.catalogue.overview import licence_of, origin_of
from roco_search.models.checkpoint import Checkpoint
from roco_search.system.files import check_space, replacing, sha256, sweep, sync, write_errors

CHUNK = 1 << 20
LARGEST_MANIFEST = 1 << 20  # bytes
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, StructError, NotImplementedError, RuntimeError, EOFError, ValueError, KeyError,
    OverflowError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """A model in one file. ``bytes`` is the size of that file."""

    name: str
    file: Path
    bytes: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that came from a file; ``already`` where it was here before."""

    name: str
    directory: Path
    bytes: int
    fingerprint: str
    licence: str | None
    already: bool


def export_model(name_or_path: str | Path, file: Path, *, force: bool = False) -> Exported:
    """Write a model that is on this disk into one file, whole or not at all.

    The same model gives the same bytes. ``force`` replaces a file that exists.

    Raises
    ------
    ModelNotFound, UnsupportedModel, InputError, StorageFull
    """
    checkpoint = registry.find(name_or_path)
    if file.is_dir():
        raise InputError(f"{file} is a folder; name a file, such as {file / 'model.zip'}.")
    sweep(file.absolute().parent, file.name)
    if file.exists() and not force:
        raise InputError(f"{file} exists; name another file, or add --force to replace it.")
    manifest = _manifest_of(checkpoint)
    check_space(file.absolute().parent, sum(fact.size for fact in manifest.files.values()))
    with (
        write_errors(file),
        replacing(file, mode=None) as fresh,
        zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(_member(installed.MANIFEST), manifest.to_json())
        for name, fact in manifest.files.items():
            with (
                (checkpoint.directory / name).open("rb") as source,
                archive.open(_member(name), "w", force_zip64=fact.size > zipfile.ZIP64_LIMIT // 2) as sink,
            ):
                _copy(source, sink)
    return Exported(manifest.name, file, file.stat().st_size, manifest.fingerprint)


def import_model(file: Path, name: str | None = None, *, force: bool = False) -> Imported:
    """Put the model of an archive among the models of this disk, after every byte of it is verified.

    Parameters
    ----------
    file : what `export_model` wrote.
    name : what to call it here; what it was called there without it.
    force : replace another model of that name.

    Raises
    ------
    InputError
        If there is no such file, or the name is taken.
    UnsupportedModel
        If the file is damaged, was altered, or holds anything but a model. Nothing of it is left then.
    StorageFull
    """
    if not file.is_file():
        raise InputError(f"{file} is not a file; give what 'roco model export' wrote.")
    with _reading(file), zipfile.ZipFile(file) as archive:
        manifest = _read_manifest(archive, file)
        members = _checked_members(archive, manifest, file)
        name = registry.canonical(name or manifest.name)
        installed.check_name(name)
        if name == registry.DEFAULT:
            raise InputError(f"{name} is part of roco and cannot be replaced; add --name to call this one otherwise.")
        if (here := installed.installed(name)) and not force:
            there = Checkpoint.open(name, here).fingerprint
            if there != manifest.fingerprint:
                raise taken(name)
            return Imported(name, here, installed.size_of(here), there, manifest.licence, already=True)
        size = sum(member.file_size for member in members)
        check_space(installed.models_directory(), size, "Free some space, or name another folder with ROCO_MODELS.")
        with installed.staging(name, "import") as staged, installed.speaking_of(file, staged):
            try:
                _unpack(archive, members, manifest, staged, file)
                checkpoint = Checkpoint.open(name, staged)
                if checkpoint.fingerprint != manifest.fingerprint:
                    raise _altered(file)
                (staged / installed.MANIFEST).write_text(replace(manifest, name=name).to_json(), "utf-8")
                directory = installed.install(staged, name)
            except BaseException:  # interrupted too: an import begins anew, so nothing of it is kept
                installed.clear_staging(name)
                raise
    return Imported(name, directory, size, manifest.fingerprint, manifest.licence, already=False)


def taken(name: str) -> InputError:
    """Return the refusal of a name that another model has."""
    return InputError(
        f"Another model is called {name} here; add --name to call this one otherwise, or --force to replace that one."
    )


def _manifest_of(checkpoint: Checkpoint) -> installed.Manifest:
    """Return the manifest of a model as it is on this disk; what a pull recorded of its origin is kept."""
    known = installed.read_manifest(checkpoint.directory)
    repository, revision = origin_of(checkpoint)
    folder = Path(checkpoint.name)
    name = checkpoint.name if installed.is_name(checkpoint.name) else folder.name
    weights = {path.name for path in checkpoint.weight_files}
    files = {}
    for path in sorted(checkpoint.directory.iterdir()):
        of_weights = path.suffix == ".safetensors"
        if path.is_file() and (path.name in weights if of_weights else installed.belongs_to_a_model(path.name)):
            files[path.name] = installed.FileFact(path.stat().st_size, sha256(path))
    if unusual := sorted(file for file in files if not installed.belongs_to_a_model(file)):
        raise UnsupportedModel(
            f"{checkpoint.name} keeps weights in {unusual[0]}, a name that transformers does not give; save it again "
            "with transformers' save_pretrained."
        )
    return installed.Manifest(
        name=name,
        fingerprint=checkpoint.fingerprint,
        repository=repository,
        revision=revision,
        licence=licence_of(checkpoint),
        pulled=known.pulled if known else None,
        files=files,
    )


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)  # with the zip format's first date, so that the archive depends on the model alone
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member


def _copy(source: IO[bytes], sink: IO[bytes]) -> str:
    """Copy and return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()


def _read_manifest(archive: zipfile.ZipFile, file: Path) -> installed.Manifest:
    try:
        member = archive.getinfo(installed.MANIFEST)
    except KeyError:
        raise UnsupportedModel(
            f"{file} is a zip, but not one that holds a model; give what 'roco model export' wrote."
        ) from None
    _check_member(member, file)
    if member.file_size > LARGEST_MANIFEST:
        raise _altered(file)
    return installed.Manifest.from_json(archive.read(member))


def _checked_members(archive: zipfile.ZipFile, manifest: installed.Manifest, file: Path) -> list[zipfile.ZipInfo]:
    """Return the members to unpack. The archive must hold each file of the manifest once, and nothing else."""
    members = [member for member in archive.infolist() if member.filename != installed.MANIFEST]
    names = [member.filename for member in members]
    for member in members:
        _check_member(member, file)
        if not installed.belongs_to_a_model(member.filename):
            shown = member.filename[:80].encode("unicode_escape").decode("ascii")
            raise UnsupportedModel(
                f"{file} holds {shown!r}, which is no part of a model, so nothing of it was taken; export the model "
                "again with 'roco model export'."
            )
    if sorted(names) != sorted(manifest.files) or len(archive.infolist()) != len(names) + 1:
        raise _altered(file)
    if any(member.file_size != manifest.files[member.filename].size for member in members):
        raise _altered(file)
    return members


def _check_member(member: zipfile.ZipInfo, file: Path) -> None:
    """Refuse links, folders, encryption and compression: `export_model` writes none of them."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    plain = kind in {0, stat.S_IFREG} and member.filename and not member.is_dir() and not member.flag_bits & 0x1
    if not plain or member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise _altered(file)


def _unpack(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], manifest: installed.Manifest, staged: Path, file: Path
) -> None:
    for stray in staged.iterdir():
        stray.unlink()
    for member in members:
        with archive.open(member) as source, (staged / member.filename).open("xb") as sink:
            if _copy(source, sink) != manifest.files[member.filename].sha256:
                raise _altered(file)
        sync(staged / member.filename)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Whatever the zip reader stumbles over means that the file is not what was exported."""
    try:
        yield
    except RocoError:
        raise
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EIO}:
            raise InputError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error
        raise _altered(file) from error
    except _DAMAGED as error:
        raise _altered(file) from error


def _altered(file: Path) -> UnsupportedModel:
    return UnsupportedModel(
        f"{file} is damaged, was altered, or is not what 'roco model export' wrote, so nothing of it was taken; copy "
        "it again from where it was exported."
    )
