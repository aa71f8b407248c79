"""``import`` of what is on this disk already: an archive of ``export``, a checkpoint's folder, or a file of weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from roco_search.errors import InputError
from roco_search.models.catalogue import archive, installed, registry
from roco_search.models.catalogue.archive import Imported
from roco_search.models.catalogue.conversion import PICKLED, Published, convert
from roco_search.models.catalogue.overview import licence_of
from roco_search.models.checkpoint import Checkpoint
from roco_search.models.open_clip import layout
from roco_search.models.pickles import SUFFIXES
from roco_search.system.files import sha256

_WEIGHTS = (*SUFFIXES, ".safetensors")


def import_any(
    path: Path, name: str | None = None, *, force: bool = False, tokenizer: str | Path | None = None
) -> Imported:
    """Put a model of this disk among the models of roco.

    Parameters
    ----------
    path
        What `export_model` wrote; a folder with ``open_clip_config.json`` or ``config.json`` and weights; or a state
        dict of OpenAI's CLIP. Pickles are converted, in a child that can do nothing else.
    name
        What to call it here; without it, what it was called there, or the name of the folder or file.
    force
        Replace another model of that name.
    tokenizer
        A model, or a folder, whose tokenizer it takes where it has none of its own.

    Raises
    ------
    InputError, ModelNotFound, UnsupportedModel, StorageFull
        Nothing of the model is left then.
    """
    if not (path.is_dir() or path.suffix in _WEIGHTS):
        if tokenizer is not None:
            raise InputError(f"{path} brings its own tokenizer; leave `tokenizer` out.")
        return archive.import_model(path, name, force=force)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a model's folder, its weights, or what was exported.")
    if not (path.is_dir() or path.is_file()):
        raise InputError(f"{path} is neither a file nor a folder; give a model's folder, or its weights.")
    called = registry.canonical(name or (path.resolve().name if path.is_dir() else path.stem))
    installed.check_name(called)
    if called == registry.DEFAULT:
        raise InputError(f"{called} is part of roco and cannot be replaced; set `name` to call this one otherwise.")
    published = _published(path, called, tokenizer)
    with installed.staging(called, "convert") as staged, installed.speaking_of(path, staged):
        try:
            for stray in staged.iterdir():
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
            checkpoint = convert(published, staged / "model")
            here = installed.installed(called)
            if here and not force:
                there = Checkpoint.open(called, here).fingerprint
                if there != checkpoint.fingerprint:
                    raise archive.taken(called)
                return Imported(called, here, installed.size_of(here), there, licence_of(checkpoint), already=True)
            facts = {
                file.name: installed.FileFact(file.stat().st_size, sha256(file))
                for file in sorted((staged / "model").iterdir())
            }
            manifest = installed.Manifest(called, checkpoint.fingerprint, licence=licence_of(checkpoint), files=facts)
            (staged / "model" / installed.MANIFEST).write_text(manifest.to_json(), "utf-8")
            directory = installed.install(staged / "model", called)
        finally:
            installed.clear_staging(called)
    size = sum(fact.size for fact in facts.values())
    return Imported(called, directory, size, manifest.fingerprint, manifest.licence, already=False)


def _published(path: Path, name: str, tokenizer: str | Path | None) -> Published:
    own = path if path.is_dir() else path.parent
    described = (own / layout.CONFIG).is_file()
    folder = own if path.is_dir() or described else None
    lent = None if tokenizer is None else _tokenizer(tokenizer)
    weights = path if path.is_file() else _weights(path)
    if folder and not described and weights.name != PICKLED and not weights.name.startswith("model"):
        folder = None  # a folder with a state dict in it, which no configuration describes
    return Published(name, weights, folder, lent, None if tokenizer is None else str(tokenizer))


def _weights(folder: Path) -> Path:
    """Return the file of weights in a folder: one that has open_clip's or transformers' name, or the only one."""
    names = (*layout.WEIGHTS, installed.WEIGHTS, installed.WEIGHTS_INDEX, PICKLED)
    if found := next((folder / name for name in names if (folder / name).is_file()), None):
        return found
    others = [file for file in sorted(folder.iterdir()) if file.suffix in _WEIGHTS and file.is_file()]
    if len(others) != 1:
        has = f"{len(others)} files of weights" if others else "no weights"
        raise InputError(f"{folder} has {has}; give a folder with one file of weights, or that file.")
    return others[0]


def _tokenizer(name_or_path: str | Path) -> Path:
    folder = Path(name_or_path).expanduser()
    return folder if folder.is_dir() else registry.find(name_or_path).directory
