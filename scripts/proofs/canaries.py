"""Plant words that nobody would write by chance into everything that a file says, and look for them in bytes.

A canary is `MARK` with a number, with a word in the file's own character set where there is room; for a UID, `ARC` with
a number; for a date, `DAY`. Pixels and what describes them stay as they are, so that the pictures are read.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

MARK = "Qxzjvkw"
ARC = "91827364509182"
DAY = "16660906"
CHARSETS = {
    "ISO_IR 100": ("ÞæðßÞØ", "latin-1"),
    "ISO_IR 192": ("龘靐齉ŁЖ", "utf-8"),
    "ISO 2022 IR 87": ("胴鰤髭胴鰤", "iso2022_jp"),
    "ISO 2022 IR 149": ("뷁뼇쉙뷁", "euc_kr"),
    "GB18030": ("齉靐龘龖", "gb18030"),
    "ISO_IR 144": ("ЖЩЪЫЖЩ", "iso8859-5"),
}
LONG, SHORT = {"LO", "PN", "LT", "ST", "UT", "UC"}, {"SH", "AE", "CS"}
KEPT = {Tag(*tag) for tag in ((0x0008, 0x0005), (0x0008, 0x0016), (0x0008, 0x1140), (0x0028, 0x0004))}
DESCRIBING = {0x0028, 0x2050, 0x5400, 0x0070}  # groups that say how pixels are shown
ALLOWED = ("Modality", "BodyPartExamined", "ViewPosition", "Laterality", "ImageLaterality", "BurnedInAnnotation")
GREATEST = 1 << 28  # bytes of one stream that is unpacked


class Planter:
    """Plants numbered canaries, and knows how many, and the values that it planted."""

    def __init__(self) -> None:
        self.planted = 0
        self.digests: set[bytes] = set()

    def word(self) -> str:
        """Return the next canary."""
        self.planted += 1
        return self._noted(f"{MARK}{self.planted:07}")

    def uid(self) -> str:
        """Return the next UID."""
        self.planted += 1
        return self._noted(f"1.2.826.0.1.{ARC}.{self.planted}")

    def _noted(self, value: str) -> str:
        for name in ("md5", "sha1", "sha256", "blake2b"):
            self.digests.add(hashlib.new(name, value.encode()).hexdigest().encode())
        return value

    def value(self, vr: str, charset: str) -> Any:
        """Return a canary for an element of a VR; None for one that holds no text."""
        if vr == "UI":
            return self.uid()
        if vr in LONG:
            return f"{self.word()}{'^' if vr == 'PN' else ' '}{CHARSETS[charset][0]}"
        if vr in SHORT:
            return self.word().upper() if vr == "CS" else self.word()
        if vr == "UR":
            return f"https://{self.word()}.example/"
        if vr == "DA":
            self.planted += 1
            return DAY
        return None

    def dicom(self, source: Path, target: Path, number: int) -> bool:
        """Write a copy of a DICOM file that carries canaries; whether it could be written.

        Every second one also claims a modality, a body part and terms of display that no standard knows.
        """
        try:
            dataset = pydicom.dcmread(source, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta or len(dataset) < 5:
                return False
            charset = list(CHARSETS)[number % len(CHARSETS)]
            before = self.planted
            self._fill(dataset, charset, wild=number % 2 == 1)
            wanted = ["", charset] if charset.startswith("ISO 2022") else charset
            dataset.SpecificCharacterSet = wanted
            for tag, vr in _standard():
                if tag not in dataset and tag not in KEPT and self._fits(tag, vr, wild=number % 2 == 1):
                    dataset.add(DataElement(tag, vr, self.value(vr, charset)))
            for offset, vr in enumerate(sorted(LONG | SHORT | {"UI", "DA", "UR"})):
                dataset.add(DataElement(Tag(0x0099, 0x1001 + offset), vr, self.value(vr, charset)))
            dataset.add(DataElement(Tag(0x0099, 0x0010), "LO", self.word()))
            dataset.add(DataElement(Tag(0x0099, 0x10F0), "OB", f"{self.word()} ".encode() * 3))
            dataset.add(DataElement(Tag(0x0099, 0x10F1), "UN", f"{self.word()} ".encode()))
            nested = Dataset()
            nested.add(DataElement(Tag(0x0010, 0x0010), "PN", self.value("PN", charset)))
            dataset.add(DataElement(Tag(0x0099, 0x10F2), "SQ", [nested]))
            dataset.file_meta.MediaStorageSOPInstanceUID = self.uid()  # type: ignore[assignment]
            dataset.file_meta.SourceApplicationEntityTitle = self.word()
            dataset.preamble = f"{self.word():128.128}".encode()
            target.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(target)
        except Exception:  # whatever pydicom cannot write again is no file of this proof's
            target.unlink(missing_ok=True)
            return False
        return self.planted > before

    def _fits(self, tag: BaseTag, vr: str, wild: bool) -> bool:
        """Whether an element may be changed without the picture being lost."""
        if tag.group in {0x0002, 0x0000, 0x7FE0, 0x0088, 0x5200, 0xFFFA}:
            return False
        if vr == "CS" and (tag.group in DESCRIBING or pydicom.datadict.keyword_for_tag(tag) in ALLOWED):
            return wild and tag.group != 0x5400
        return True

    def _fill(self, dataset: Dataset, charset: str, wild: bool) -> None:
        for element in list(dataset):
            if element.VR == "SQ":
                for item in element.value:
                    self._fill(item, charset, wild)
                continue
            if element.tag in KEPT or (element.tag.group == 0x0028 and not wild):
                continue
            value = self.value(element.VR, charset)
            if value is not None and self._fits(element.tag, element.VR, wild):
                dataset[element.tag] = DataElement(element.tag, element.VR, value)
            elif element.tag.is_private and element.VR in {"UN", "OB"} and element.value:
                dataset[element.tag] = DataElement(element.tag, element.VR, f"{self.word()} ".encode())

    def pictures(self, folder: Path) -> None:
        """Write pictures of other kinds whose metadata carries canaries."""
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.radial_gradient("L").resize((96, 96))
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", self.word())
        texts.add_text("Patient", self.word(), zip=True)
        texts.add_itxt("Title", f"{self.word()} 龘靐齉ŁЖ", zip=True)
        exif = Image.Exif()
        for tag in (0x010E, 0x013B, 0x8298):  # ImageDescription, Artist, Copyright
            exif[tag] = self.word()
        picture.save(folder / "said.png", pnginfo=texts, exif=exif)
        xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{self.word()}</x:xmpmeta>".encode()
        picture.save(folder / "said.jpg", comment=self.word().encode(), exif=exif, xmp=xmp)
        picture.save(folder / "said.tif", description=self.word(), artist=self.word(), software=self.word())
        picture.save(folder / "said.webp", exif=exif, xmp=xmp)
        nrrd = f"NRRD0004\n# {self.word()}\ntype: uint8\ndimension: 3\nsizes: 16 16 9\ncontent: {self.word()}\n"
        nrrd += f"name:={self.word()}\nencoding: raw\n\n"
        (folder / "said.nrrd").write_bytes(nrrd.encode() + bytes(range(256)) * 9)
        meta = f"ObjectType = Image\nComment = {self.word()}\nNDims = 3\nDimSize = 16 16 9\nElementType = MET_UCHAR\n"
        meta += f"Name = {self.word()}\nElementDataFile = LOCAL\n"
        (folder / "said.mha").write_bytes(meta.encode() + bytes(range(256)) * 9)
        (folder / "said.nii").write_bytes(self._nifti())

    def _nifti(self) -> bytes:
        head = bytearray(352)
        struct.pack_into("<i", head, 0, 348)
        struct.pack_into("<10s18s", head, 4, self.word().encode()[:10], self.word().encode())
        struct.pack_into("<8h", head, 40, 3, 16, 16, 9, 1, 1, 1, 1)
        struct.pack_into("<2h", head, 70, 2, 8)
        struct.pack_into("<8f", head, 76, 1, 1, 1, 3, 1, 1, 1, 1)
        struct.pack_into("<f", head, 108, 352)
        struct.pack_into("<80s24s", head, 148, self.word().encode(), self.word().encode())
        struct.pack_into("<16s", head, 328, self.word().encode())
        struct.pack_into("<4s", head, 344, b"n+1\0")
        return bytes(head) + bytes(range(256)) * 9


def _standard() -> Iterator[tuple[BaseTag, str]]:
    """Yield every element of the standard that holds text."""
    for number, (vr, *_) in DicomDictionary.items():
        if vr in LONG | SHORT | {"UI", "DA", "UR"}:
            yield Tag(number), vr


class Search:
    """Looks for canaries in bytes, as they are and as they may be hidden."""

    def __init__(self, digests: set[bytes]) -> None:
        self._digests = digests
        low = MARK.lower()
        # The whole of `data` is made lower case first; these are found in it.
        self._lower = {
            "as text": low.encode(),
            "as UTF-16": low.encode("utf-16-le"),
            "as hex": MARK.encode().hex().encode(),
        }
        self._lower = {
            how: needle.encode() if isinstance(needle, str) else needle for how, needle in self._lower.items()
        }
        self._lower["as upper hex"] = MARK.upper().encode().hex().encode()
        self._exact = {f"in base64 ({n})": part for n, part in enumerate(_base64(MARK.encode()))}
        self._exact |= {f"upper case in base64 ({n})": part for n, part in enumerate(_base64(MARK.upper().encode()))}
        self._exact["as a UID"] = ARC.encode()
        self._exact["as a UID in UTF-16"] = ARC.encode("utf-16-le")
        self._exact |= {f"as a UID in base64 ({n})": part for n, part in enumerate(_base64(ARC.encode()))}
        for charset, (word, encoding) in CHARSETS.items():
            core = word[:4]
            self._exact[f"{charset} as UTF-8"] = core.encode()
            self._exact[f"{charset} as UTF-16"] = core.encode("utf-16-le")
            self._exact[f"{charset} as it is"] = core.encode(encoding).removesuffix(b"\x1b(B")
            self._lower[f"{charset} as JSON"] = core.encode("ascii", "backslashreplace").lower()
        self._day = re.compile(rb"(?<![\d.])" + DAY.encode() + rb"(?!\d)|1666-09-06|06[./]09[./]1666")

    def found(self, data: bytes, where: str, depth: int = 0) -> Iterator[str]:
        """Yield a sentence for each way in which a canary is in `data`, packed streams within it included."""
        lower = data.lower()
        for how, needle in self._lower.items():
            if (place := lower.find(needle)) >= 0:
                yield f"{where}: a canary {how} at {place:,}: {data[max(0, place - 60) : place + 40]!r}"
        for how, needle in self._exact.items():
            if (place := data.find(needle)) >= 0:
                yield f"{where}: a canary {how} at {place:,}: {data[max(0, place - 60) : place + 40]!r}"
        if shown := self._day.search(data):
            yield f"{where}: a date at {shown.start():,}: {data[max(0, shown.start() - 60) : shown.end()]!r}"
        for digest in re.findall(rb"(?<![0-9a-f])[0-9a-f]{32,128}(?![0-9a-f])", data):
            if digest in self._digests:
                yield f"{where}: the plain hash of a canary"
        if depth < 3:
            for name, content in unpacked(data):
                yield from self.found(content, f"{where} > {name}", depth + 1)


def _base64(needle: bytes) -> list[bytes]:
    """Return what is always in the base64 of text that contains `needle`, at each of the three phases."""
    parts = []
    for phase in range(3):
        encoded = base64.b64encode(bytes(phase) + needle)
        first, whole = -(-phase * 8 // 6), (phase + len(needle)) * 8 // 6
        parts.append(encoded[first:whole])
    return parts


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of zip members, and of gzip and zlib streams wherever they begin in `data`."""
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for entry in archive.infolist():
                    yield entry.filename, archive.read(entry)
            return
        except (zipfile.BadZipFile, OSError, zlib.error):
            pass
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        packer = zlib.decompressobj(wbits=47)  # either head
        try:
            content = packer.decompress(data[start.start() : start.start() + GREATEST], GREATEST)
        except zlib.error:
            continue
        if len(content) >= 8:
            yield f"stream at {start.start():,}", content
