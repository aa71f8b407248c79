"""Volumes: the same slices, in the same orientation, whatever file they are in and however it lays them out."""

from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from pydicom import dcmread

from roco_search.errors import InputError, NotAnImage, UnreadableImage
from roco_search.imaging import Slices, Window, open_image, read_levels, sniff
from roco_search.imaging.volumes import parse_planes
from tests.imaging.drawing import SHARED, grey

SHAPE = (24, 32, 12)  # to the right, to the front, upwards
STEPS = (1.0, 1.0, 3.0)
LPS = np.diag([-1.0, -1.0, 1.0])


def head(low: float = 0, high: float = 1000) -> np.ndarray:
    """Return noise that is brighter to the right, to the front and upwards, of `SHAPE`: no direction is another."""
    x, y, z = (np.linspace(0, 1, size) for size in SHAPE)
    shade = x[:, None, None] * 0.5 + y[None, :, None] * 0.3 + z[None, None, :] * 0.2
    noise = np.random.default_rng(0).normal(0, 0.02, SHAPE)
    return low + np.clip(shade + noise, 0, 1) * (high - low)


def write(path: Path, voxels: np.ndarray, directions: np.ndarray) -> Path:
    """Write a volume; `directions` are in NIfTI's axes: to the right, to the front, upwards."""
    affine = np.eye(4)
    affine[:3, :3] = directions
    name = path.name
    if name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    elif name.endswith(".nii2"):
        image = nibabel.Nifti2Image(voxels, affine)
        path.write_bytes(image.to_bytes())
    elif name.endswith(".hdr"):
        nibabel.save(nibabel.Nifti1Pair(voxels, affine), path)
    elif name.endswith((".nrrd", ".nhdr")):
        header = {"space": "left-posterior-superior", "space directions": (LPS @ directions).T, "encoding": "raw"}
        if name.startswith("gz"):
            header["encoding"] = "gzip"
        nrrd.write(str(path), voxels, header | {"space origin": [0, 0, 0]})
    else:
        meta_image(path, voxels, directions)
    return path


def meta_image(path: Path, voxels: np.ndarray, directions: np.ndarray) -> None:
    import zlib

    steps = np.linalg.norm(directions, axis=0)
    kinds = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT", "uint16": "MET_USHORT"}
    packed, beside = path.name.startswith("gz"), path.suffix == ".mhd"
    data = voxels.tobytes(order="F")
    data = zlib.compress(data) if packed else data
    fields = {
        "ObjectType": "Image",
        "NDims": voxels.ndim,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": packed,
        "TransformMatrix": " ".join(map(str, (LPS @ directions / steps).T.reshape(-1))),
        "ElementSpacing": " ".join(map(str, steps)),
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": kinds[voxels.dtype.name],
        "ElementDataFile": "voxels.raw" if beside else "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()
    path.write_bytes(text if beside else text + data)
    if beside:
        (path.parent / "voxels.raw").write_bytes(data)


KINDS = ["a.nii", "a.nii.gz", "a.nii2", "a.hdr", "a.nrrd", "gz.nrrd", "a.nhdr", "a.mha", "gz.mha", "a.mhd", "gz.mhd"]


def expected(plane: str, number: int, values: np.ndarray) -> np.ndarray:
    """Return a slice in radiological convention, by the meaning of the axes."""
    match plane:
        case "AXIAL":
            return values[::-1, ::-1, number].T
        case "CORONAL":
            return values[::-1, number, ::-1].T
    return values[number, ::-1, ::-1].T


def shown(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    low, high = np.percentile(of, [1, 99])
    return (np.clip((values - low) / (high - low), 0, 1) * 255).round()


@pytest.mark.parametrize("kind", KINDS)
def test_every_slice_of_every_plane_is_where_it_belongs(tmp_path: Path, kind: str) -> None:
    values = head().astype(np.int16)
    path = write(tmp_path / kind, values, np.diag(STEPS))
    assert sniff(path) == "volume"
    frames = list(open_image(path, frames="all", slices=Slices(planes=("AXIAL", "CORONAL", "SAGITTAL"))))
    assert [frame.index for frame in frames] == list(range(12 + 32 + 24)) and frames[0].count == 68
    for frame in frames:
        assert frame.tags.view is not None and frame.tags.instance_number is not None
        picture = grey(frame)
        right = shown(expected(frame.tags.view, frame.tags.instance_number - 1, values), values)
        if frame.tags.view == "AXIAL":
            assert np.abs(picture - right).max() <= 1
        else:  # three times as high as its voxels: pixels are square
            assert picture.shape == (3 * right.shape[0], right.shape[1])
            assert np.abs(picture[1::3] - right).max() <= 2


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_how_the_axes_are_laid_out_in_the_file_does_not_matter(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    values = head().astype(np.int16)
    plain = write(tmp_path / "a.nii", values, np.diag(STEPS))
    laid = np.transpose(values, order)[:: signs[0], :: signs[1], :: signs[2]]
    directions = np.diag(STEPS)[:, list(order)] * np.array(signs)
    other = write(tmp_path / "b.nii", np.ascontiguousarray(laid), directions)
    for number in (3, 12 + 7, 12 + 32 + 5):
        first, second = (next(open_image(path, frames=(number,))) for path in (plain, other))
        np.testing.assert_array_equal(first.pixels, second.pixels)
        assert first.tags == second.tags


def test_an_oblique_volume_takes_the_nearest_planes(tmp_path: Path) -> None:
    angle = np.deg2rad(25)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    values = head().astype(np.int16)
    straight = write(tmp_path / "a.nii", values, np.diag(STEPS))
    oblique = write(tmp_path / "b.nii", values, turn @ np.diag(STEPS))
    np.testing.assert_array_equal(next(open_image(straight)).pixels, next(open_image(oblique)).pixels)


def test_which_slices_are_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", head().astype(np.int16), np.diag(STEPS))

    def chosen(**options: Any) -> list[int]:
        return [frame.index for frame in open_image(path, **options)]

    assert chosen() == [6], "the middle of the plane with the best resolution, which is across the longest step"
    assert chosen(frames=3) == [2, 6, 10]
    assert chosen(slices=Slices(2)) == [3, 9]
    assert chosen(slices=Slices(2, ("CORONAL", "SAGITTAL"))) == [12 + 8, 12 + 24, 44 + 6, 44 + 18]
    assert chosen(frames=(1, 67)) == [1, 67]
    with pytest.raises(UnreadableImage, match="68 frames"):
        chosen(frames=(68,))
    thick = write(tmp_path / "b.nii", head().astype(np.int16), np.diag([5.0, 1, 1]))
    assert next(open_image(thick)).tags.view == "SAGITTAL"
    assert parse_planes("axial, Coronal") == ("AXIAL", "CORONAL")
    with pytest.raises(InputError):
        parse_planes("axial,oblique")


def test_hounsfield_units_are_shown_as_ct(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(50, 30, SHAPE)
    values[:8] = np.random.default_rng(1).normal(-1000, 10, (8, *SHAPE[1:]))
    path = write(tmp_path / "a.nii", values.astype(np.int16), np.diag(STEPS))
    frame = next(open_image(path))
    soft = (np.clip((expected("AXIAL", 6, values.astype(np.int16)) - 39.5) / 399 + 0.5, 0, 1) * 255).round()
    assert np.abs(grey(frame) - soft).max() <= 1
    levels = read_levels(path, 6)
    assert levels is not None and levels.hounsfield and levels.window == Window(40, 400)
    assert np.abs(grey(next(open_image(path, window=Window(-600, 1500)))).astype(int) - grey(frame)).max() > 50


def test_scaling_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(head().astype(np.int16), np.diag([*STEPS, 1]))
    image.header.set_slope_inter(2.0, -100.0)
    nibabel.save(image, tmp_path / "a.nii")
    levels = read_levels(tmp_path / "a.nii", 6)
    stored = expected(
        "AXIAL",
        6,
        np.asarray(image.dataobj.get_unscaled() if hasattr(image.dataobj, "get_unscaled") else image.dataobj),
    )
    assert levels is not None and levels.low == pytest.approx(stored.min() * 2 - 100)


def test_of_four_dimensions_the_first_volume_counts(tmp_path: Path) -> None:
    values = head().astype(np.int16)
    both = np.stack([values, values[::-1]], axis=3)
    affine = np.diag([*STEPS, 1])
    nibabel.save(nibabel.Nifti1Image(both, affine), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "b.nii.gz")
    first, second = (next(open_image(tmp_path / name)).pixels for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_array_equal(first, second)


def regions(count: int) -> np.ndarray:
    x, y, z = np.indices(SHAPE)
    return (x // 6 + 4 * (y // 8) + 16 * (z // 6)) % count


@pytest.mark.parametrize(
    "voxels",
    [
        regions(2).astype(np.uint8),
        regions(2).astype(np.uint8) * 255,
        regions(7).astype(np.uint16),
        regions(30).astype(np.int16) * 100,
        regions(5).astype(np.float32),
        np.zeros(SHAPE, np.uint8),
    ],
)
def test_labels_and_masks_are_no_pictures(tmp_path: Path, voxels: np.ndarray) -> None:
    with pytest.raises(NotAnImage, match="label map or a mask"):
        next(open_image(write(tmp_path / "a.nii", voxels, np.diag(STEPS))))


def test_headers_tell_labels_and_vectors(tmp_path: Path) -> None:
    affine = np.diag([*STEPS, 1])
    image = nibabel.Nifti1Image(head().astype(np.int16), affine)
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((*SHAPE, 1, 3), np.float32), affine), tmp_path / "b.nii")
    nrrd.write(str(tmp_path / "c.nrrd"), head().astype(np.int16), {"Segment0_ID": "liver"})
    nrrd.write(
        str(tmp_path / "d.nrrd"), np.zeros((3, *SHAPE), np.float32), {"kinds": ["vector", "domain", "domain", "domain"]}
    )
    for name in "a.nii", "b.nii", "c.nrrd", "d.nrrd":
        with pytest.raises(NotAnImage):
            next(open_image(tmp_path / name))


@pytest.mark.parametrize("damaged", [1e300, np.nan, np.inf, 0.0, -1e308])
def test_damaged_directions_are_as_none(tmp_path: Path, damaged: float, capfd: pytest.CaptureFixture[str]) -> None:
    image = nibabel.Nifti2Image(head().astype(np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    content[400:408] = np.float64(damaged).tobytes()  # srow_x[0]
    (tmp_path / "a.nii").write_bytes(content)
    assert next(open_image(tmp_path / "a.nii")).pixels.std() > 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_short_says_so(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / kind, np.random.default_rng(0).integers(-500, 500, SHAPE).astype(np.int16), np.diag(STEPS))
    data = {"a.hdr": "a.img", "a.mhd": "voxels.raw", "gz.mhd": "voxels.raw", "a.nhdr": "a.raw.gz"}.get(kind, kind)
    if not (tmp_path / data).exists():
        [data] = [file.name for file in tmp_path.iterdir() if file.name != kind]
    content = (tmp_path / data).read_bytes()
    (tmp_path / data).write_bytes(content[:-3000])
    with pytest.raises(UnreadableImage, match=r"cut short|damaged"):
        next(open_image(path))


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "a/b.raw", "slice%03d.raw 1 9 1", "LIST", "gone.raw"])
def test_a_header_cannot_name_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(100_000))
    path = write(folder / "a.mhd", head().astype(np.int16), np.diag(STEPS))
    path.write_text(path.read_text().replace("voxels.raw", name))
    detached = write(folder / "b.nhdr", head().astype(np.int16), np.diag(STEPS))
    [line] = [line for line in detached.read_text().splitlines() if line.startswith("data file")]
    detached.write_text(detached.read_text().replace(line, f"data file: {name}"))
    for file in (path, detached):
        with pytest.raises(UnreadableImage, match=r"not beside it|header is damaged"):
            next(open_image(file))


def test_a_volume_larger_than_a_picture_may_cost_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float64), np.eye(4))
    image.header.set_data_shape((3000, 3000, 3000))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image.header.binaryblock + bytes(4 + 4096)))
    with pytest.raises(UnreadableImage, match="too large"):
        next(open_image(tmp_path / "a.nii.gz"))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.nrrd", head().astype(np.int16), np.diag(STEPS))
    monkeypatch.setitem(__import__("sys").modules, "nrrd", None)
    with pytest.raises(UnreadableImage, match=r"pip install 'roco-search\[volumes\]'"):
        next(open_image(path))


def series(folder: str, plane: str) -> list[Any]:
    """Parallel slices of the shared scans, one a position, in the order in which they follow one another."""
    found = [dcmread(path) for path in sorted((SHARED / "scans" / "dicom" / folder).iterdir())]
    found = [one for one in found if not one.file_meta.TransferSyntaxUID.is_compressed and plane_of(one) == plane]
    directions = np.array(found[0].ImageOrientationPatient, float).reshape(2, 3)
    along = np.cross(*directions)
    there = {
        round(float(along @ np.array(one.ImagePositionPatient, float)), 2): one
        for one in found
        if np.allclose(np.array(one.ImageOrientationPatient, float).reshape(2, 3), directions)
        and one.pixel_array.shape == found[0].pixel_array.shape
    }
    return [there[place] for place in sorted(there)]


def plane_of(slice_: Any) -> str:
    normal = np.cross(*np.array(slice_.ImageOrientationPatient, float).reshape(2, 3))
    return ["SAGITTAL", "CORONAL", "AXIAL"][int(np.abs(normal).argmax())]


def write_series(path: Path, slices: list[Any]) -> Path:
    """Make a volume of a series, as a converter does: values in the modality's units, directions from the headers."""
    first, last = slices[0], slices[-1]
    voxels = np.stack([one.pixel_array.T for one in slices], axis=2)
    voxels = voxels * float(first.get("RescaleSlope", 1)) + float(first.get("RescaleIntercept", 0))
    along = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    ends = [np.array(one.ImagePositionPatient, float) for one in (first, last)]
    step = (ends[1] - ends[0]) / (len(slices) - 1)
    rows, columns = map(float, first.PixelSpacing)
    directions = LPS @ np.stack([along[0] * columns, along[1] * rows, step], axis=1)
    return write(path, voxels.astype(np.int16), directions)


REAL = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared scans are not beside this checkout")


@REAL
@pytest.mark.parametrize("kind", ["a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize(
    ("folder", "plane"),
    [("dcm_qa_ct", "AXIAL"), ("dcm_qa_mr", "AXIAL"), ("dcm_qa_mr", "CORONAL"), ("dcm_qa_mr", "SAGITTAL")],
)
def test_a_volume_made_of_a_dicom_series_is_shown_as_the_series(
    tmp_path: Path, kind: str, folder: str, plane: str
) -> None:
    slices = series(folder, plane)
    path = write_series(tmp_path / kind, slices)
    window = Window(35, 80) if folder == "dcm_qa_ct" else Window(200, 400)
    right = [next(open_image(one.filename, window=window)).pixels for one in slices]
    chosen = Slices(len(slices), (plane,))
    seen = [frame for frame in open_image(path, window=window, slices=chosen) if frame.tags.view == plane]
    assert len(seen) == len(right) > 1
    # Along the axis to the left, the front or the head, whichever way the series was read.
    backwards = (
        np.abs(seen[0].pixels.astype(int) - right[0]).mean() > np.abs(seen[0].pixels.astype(int) - right[-1]).mean()
    )
    for frame, picture in zip(seen, right[::-1] if backwards else right, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)
