"""A cohort as a folder that other programs learn from: images, labels, splits by case, and a manifest.

The folder is made beside its place and put there when it is whole. Nothing is ever overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from roco_search import __version__
from roco_search.curation.cohorts.burned_in import why_text_is_likely
from roco_search.curation.cohorts.cohort import Cohort, Listed, members_of
from roco_search.curation.cohorts.deidentify import METHOD, Deidentifier
from roco_search.curation.cohorts.layouts import IMAGES, PROBABILITY, Layout, Row, checked_layout, write_tables
from roco_search.curation.cohorts.masking import TextFinder, find_in_dicom, masked, rewrite
from roco_search.datasets.splits import divide_cases
from roco_search.errors import ImageError, InputError
from roco_search.imaging import Frame, Tags, open_image, sniff
from roco_search.imaging.archives import SEPARATOR, locate
from roco_search.imaging.walk import is_below
from roco_search.library import Library
from roco_search.library.directory import real_path
from roco_search.probe.applying import by_all
from roco_search.search.hits import group_key
from roco_search.system.files import sha256, sweep, sync_folder, temporary_folder, write_errors, write_file
from roco_search.system.progress import Pace, Progress, following

Form = Literal["png", "files"]

MANIFEST = "manifest.json"
NOTE = (
    "roco states no licence for these images: each has that of its source. Check it, and what the patients agreed to, "
    "before you pass them on. For research, not for clinical use."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a cohort is exported.

    Attributes
    ----------
    layout
        "imagefolder", "datasets" (what `save_to_disk` writes), "csv" or "coco".
    form
        "png" for rendered pictures without any header, "files" for the files as they are.
    deidentify
        Copies of DICOM files that name nobody; other files as PNG; no captions, paths or names anywhere.
    validation, test
        The shares of the splits; whole cases only.
    seed
        Which cases these are.
    find_text
        Look into the pixels for text, and list what is found.
    mask_text
        Also mask it, in PNGs and in de-identified copies.
    label
        What every image is labelled; None for the cohort's name.
    """

    layout: Layout = "imagefolder"
    form: Form = "png"
    deidentify: bool = False
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0
    find_text: bool = False
    mask_text: bool = False
    label: str | None = None


@dataclass(slots=True)
class Exported:
    """What was written: the folder, how many images by split, and those that may carry text in their pixels.

    `text_found` counts the images in which a detector saw text; None where it was not asked.
    """

    folder: str
    layout: Layout
    images: int
    splits: dict[str, int]
    cases: int
    burned_in: dict[str, str] = field(default_factory=dict)
    gone: int = 0
    text_found: int | None = None


def export_cohort(
    library: Library,
    cohort: Cohort,
    target: str | os.PathLike[str],
    options: Options | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a cohort to a new folder, for its owner alone (mode 0700), whole or not at all.

    Parameters
    ----------
    library, cohort
        The cohort and its library. What the library no longer has is left out, and counted.
    target
        A folder that does not exist.
    options
        See `Options`.
    progress
        Follows the run.

    Raises
    ------
    InputError
        If the folder exists, options contradict each other, or an image cannot be read or has changed.
    StorageFull, LibraryError
        Nothing is left behind.
    """
    chosen = options or Options()
    folder = Path(real_path(target))
    _check(library, folder, chosen)
    listed = members_of(library, cohort)
    if not listed:
        raise InputError(f"The library has no image of {cohort.name!r} any more; run `roco cohort refresh` first.")
    captions = {} if chosen.deidentify else library.captions.texts(entry.frame.id for entry in listed)
    cases, splits = _divided(listed, chosen)
    identity = Deidentifier() if chosen.deidentify else None
    taught = by_all(library, np.array([entry.frame.id for entry in listed], np.int64))
    with write_errors(folder), temporary_folder(folder) as made:
        writer = _Writer(library, made, chosen, identity)
        pace = Pace()
        with following(progress, len(listed)) as bar:
            for entry, case, split in zip(listed, cases, splits, strict=True):
                said = {f"{PROBABILITY}{name}": shares.get(entry.frame.id) for name, shares in taught.items()}
                writer.add(entry, case, split, captions.get(entry.frame.id, []), chosen.label or cohort.name, said)
                bar.advance(1, images_per_second=pace.add(1))
        write_tables(made, chosen.layout, writer.rows)
        done = Exported(
            folder=str(folder),
            layout=chosen.layout,
            images=len(writer.rows),
            splits=dict(Counter(row.split for row in writer.rows)),
            cases=len({row.columns["case"] for row in writer.rows}),
            burned_in=writer.burned_in,
            gone=len(cohort.members) - len(listed),
            text_found=None if writer.finder is None else writer.text_found,
        )
        write_file(made / MANIFEST, json.dumps(_manifest(cohort, chosen, done, made), indent=1) + "\n", mode=None)
        try:
            made.rename(folder)  # which an empty folder would let happen, and nothing else
        except OSError:
            if folder.exists():
                raise _exists(folder) from None
            raise
        sync_folder(folder.parent)
    return done


class _Writer:
    """Writes the images of an export, and remembers a row for each."""

    def __init__(self, library: Library, folder: Path, options: Options, identity: Deidentifier | None) -> None:
        self._library, self._folder, self._options, self._identity = library, folder, options, identity
        self._done: set[str] = set()
        self.rows: list[Row] = []
        self.burned_in: dict[str, str] = {}
        self.finder = TextFinder() if options.find_text or options.mask_text else None
        self.text_found = 0

    def add(
        self, entry: Listed, case: str, split: str, captions: list[str], label: str, taught: dict[str, float | None]
    ) -> None:
        """Write one image; of a file that is copied whole, only once."""
        frame, number = entry.frame, len(self.rows) + 1
        if frame.path not in self._done:
            self._check_unchanged(frame.path)
        kind = sniff(frame.path)
        copied = self._options.form == "files" or (self._identity is not None and kind == "dicom")
        # A picture whose other half is beside it (.hdr and .img, .mhd and .raw) would be half a picture.
        copied &= self._options.layout != "datasets" and (kind == "dicom" or bool(_ending(frame.path)))
        if copied and frame.path in self._done:
            return
        self._done.add(frame.path)
        home = self._folder / IMAGES[self._options.layout].format(split=split)
        home.mkdir(parents=True, exist_ok=True)
        ending = (".dcm" if kind == "dicom" else _ending(frame.path)) if copied else ".png"
        target = home / f"{number:06}{ending}"
        tags, places = self._write(entry, target, kind, copied=copied)
        name = target.relative_to(self._folder).as_posix()
        if (why := self._why(tags, places)) is not None:
            self.burned_in[name] = why
        said = {"modality": frame.modality, "body_part": frame.body_part, "view": frame.view}
        said |= {"laterality": frame.laterality}
        columns: dict[str, Any] = {"label": label, "case": case, **said, "rows": frame.rows, "columns": frame.columns}
        columns |= {"score": entry.member.score, "match": entry.member.match} | taught
        self.rows.append(Row(name, split, captions[0] if captions else _described(said), columns))

    def _why(self, tags: Tags | None, places: int) -> str | None:
        """Return why an image may have text in its pixels, by its header and by what was found in it."""
        likely = why_text_is_likely(tags)
        if self.finder is None:
            return likely
        if places:
            self.text_found += 1
            done = " and masked" if self._options.mask_text else ""
            return f"text was found{done} in {places:,} places; there may be more"
        return None if likely is None else f"{likely}; no text was found in it, which proves nothing"

    def _write(self, entry: Listed, target: Path, kind: str | None, *, copied: bool) -> tuple[Tags | None, int]:
        """Write an image; return what its header says, and the number of places with text in its pixels."""
        frame, refusal = entry.frame, ""
        try:
            if copied and kind == "dicom" and self._identity is not None:
                source, boxes = locate(frame.path), find_in_dicom(frame.path, self.finder) if self.finder else ()
                pixels = rewrite(source, boxes) if boxes and self._options.mask_text else None
                return self._identity.copy(source, target, pixels), len(boxes)
            picture: Frame = next(open_image(frame.path, frames=(frame.frame,)))
            found = self.finder.boxes(picture.pixels) if self.finder else []
            if copied:
                with locate(frame.path).open("rb") as file, target.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
            else:
                _save(masked(picture.pixels, found if self._options.mask_text else (), 0), target)
            return picture.tags if kind == "dicom" else None, len(found)
        except ImageError as error:
            refusal = str(error)
        raise InputError(
            f"{frame.path} cannot be exported: {refusal}. Nothing was written; run `roco index`, then `roco cohort "
            "refresh`, or narrow the cohort."
        )

    def _check_unchanged(self, path: str) -> None:
        """Refuse a file that is not the one that was indexed: its labels would be of another picture."""
        known, place = self._library.frames.content_hash(path), locate(path)
        try:
            same = known is None or sha256(place) == known.hex()
        except (ImageError, FileNotFoundError, NotADirectoryError):
            same = False
        if not same:
            raise InputError(
                f"{path} is no longer the file that was indexed; run `roco index`, then `roco cohort refresh`. Nothing "
                "was written."
            )


def checked_form(text: str) -> Form:
    """Read the name of a form. Raises `InputError` if it is none."""
    if text not in get_args(Form):
        raise InputError(f"{text!r} is no form; choose png or files.")
    return cast("Form", text)


def _check(library: Library, folder: Path, options: Options) -> None:
    checked_layout(options.layout)
    sweep(folder.parent, folder.name)  # Whatever a killed export left there: pictures.
    if folder.exists() or folder.is_symlink():
        raise _exists(folder)
    if not folder.parent.is_dir():
        raise InputError(f"There is no folder {folder.parent}; make it first, or name a folder elsewhere.")
    if is_below(str(folder), os.path.realpath(library.directory)):
        raise InputError(f"{folder} is in the library's own folder; name a folder elsewhere.")
    if any(is_below(str(folder), root) for root in library.roots()):
        raise InputError(
            f"{folder} is inside a folder that the library indexes, so that its images would be found twice; name a "
            "folder elsewhere."
        )
    if options.layout == "datasets" and options.form == "files":
        raise InputError("A saved data set holds pictures; leave out `form`, or choose another `layout`.")
    if options.mask_text and options.form == "files":
        raise InputError('Files as they are keep their pixels; leave out `mask_text`, or choose `form="png"`.')
    if options.deidentify and options.form == "files":
        raise InputError('Files as they are name patients; choose one of `deidentify` and `form="files"`.')


def _exists(folder: Path) -> InputError:
    return InputError(f"{folder} exists, and nothing is overwritten; name a new folder.")


def _divided(listed: list[Listed], options: Options) -> tuple[list[str], list[str]]:
    """Return the case of each member, "case-0001" and so on, and its split."""
    keys = [hashlib.sha256(repr(group_key(entry.frame, "study")).encode()).hexdigest() for entry in listed]
    numbers = {key: f"case-{place:04}" for place, key in enumerate(sorted(set(keys)), start=1)}
    return [numbers[key] for key in keys], divide_cases(keys, options.validation, options.test, options.seed)


def _save(pixels: npt.NDArray[np.uint8], target: Path) -> None:
    """Write a picture as a PNG without metadata; one without colour has a single channel."""
    from PIL import Image

    grey = bool((pixels[..., :1] == pixels).all())
    Image.fromarray(pixels[..., 0] if grey else pixels).save(target, "PNG")


def _ending(path: str) -> str:
    """Return how the name of a file ends, as far as that is a format and not a name of somebody's."""
    name = path.rpartition(SEPARATOR)[2].lower()
    endings = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
    return next((ending for ending in endings if name.endswith(ending)), "")


def _described(said: dict[str, str | None]) -> str:
    """Return a caption of what a header says, such as "axial CT of the head"; roco train needs one of each image."""
    view = said["view"].lower() if said["view"] in {"AXIAL", "CORONAL", "SAGITTAL", "LATERAL"} else ""
    part = f" of the {said['body_part'].lower()}" if said["body_part"] else ""
    return f"{view} {said['modality'] or 'radiology'} image{part}".strip()


def _manifest(cohort: Cohort, options: Options, done: Exported, folder: Path) -> dict[str, Any]:
    definition = cohort.definition.plain()
    if options.deidentify:
        definition = {name: value for name, value in definition.items() if name not in {"under", "path"}}
    return {
        "cohort": cohort.name,
        "definition": definition,
        "understood": cohort.understood,
        "created": cohort.created,
        "refreshed": cohort.refreshed,
        "model": {"name": Path(cohort.model).name, "fingerprint": cohort.fingerprint},
        "versions": {"roco": __version__, **{name: version(name) for name in ("numpy", "pillow", "pydicom")}},
        "options": asdict(options),
        "deidentified": METHOD if options.deidentify else None,
        "images": done.images,
        "cases": done.cases,
        "splits": done.splits,
        "no_longer_in_the_library": done.gone,
        "licence": NOTE,
        "images_with_text_found": done.text_found,
        "may_carry_text_in_its_pixels": done.burned_in,
        "files": {name: {"sha256": digest} for name, digest in _digests(folder)},
    }


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), sha256(file)
