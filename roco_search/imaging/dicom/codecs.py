"""Which decoder opens which transfer syntax, in what order, and what to install where one is missing."""

import contextlib
import logging
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from roco_search.errors import UnreadableImage

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder


_OPENJPEG = ("pylibjpeg", "gdcm")
_PREFERRED = {
    # Transfer syntax UID: pydicom's plugins, best first; None stands for the native ones, which need no
    # plugin.
    #
    # JPEG Baseline and 8-bit Extended: Pillow's libjpeg-turbo is the most exercised parser of hostile JPEGs.
    # The 12-bit Extended is read by pylibjpeg-libjpeg alone, which is GPL and never installed by roco itself.
    "1.2.840.10008.1.2.4.50": ("pillow", "pylibjpeg", "gdcm"),
    "1.2.840.10008.1.2.4.51": ("pylibjpeg", "pillow"),
    # JPEG Lossless: GDCM is the only one that is not GPL.
    "1.2.840.10008.1.2.4.57": ("gdcm", "pylibjpeg"),
    "1.2.840.10008.1.2.4.70": ("gdcm", "pylibjpeg"),
    # JPEG-LS: GDCM refuses precisions of 6 and 7 bits, which CharLS reads.
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "gdcm"),
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "gdcm"),
    # JPEG 2000: Pillow reads signed codestreams in unsigned datasets off by half the range, and more than 8
    # bits of colour not at all, so it is not asked. GDCM's result equals OpenJPEG's.
    "1.2.840.10008.1.2.4.90": _OPENJPEG,
    "1.2.840.10008.1.2.4.91": _OPENJPEG,
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),
    "1.2.840.10008.1.2.5": ("pydicom",),
    "1.2.840.10008.1.2": None,
    "1.2.840.10008.1.2.1": None,
    "1.2.840.10008.1.2.1.99": None,
    "1.2.840.10008.1.2.2": None,
}
_REMEDIES = {
    "1.2.840.10008.1.2.4.50": "pip install pillow",
    "1.2.840.10008.1.2.4.51": "pip install pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pip install python-gdcm",
    "1.2.840.10008.1.2.4.70": "pip install python-gdcm",
    "1.2.840.10008.1.2.4.80": "pip install pyjpegls",
    "1.2.840.10008.1.2.4.81": "pip install pyjpegls",
}
_OPENJPEG_REMEDY = "pip install pylibjpeg pylibjpeg-openjpeg"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


@dataclass(frozen=True, slots=True)
class DecoderStatus:
    """What this installation can do with one transfer syntax.

    Attributes
    ----------
    name, uid
        The transfer syntax.
    available
        Whether its pixel data can be decoded here.
    by
        The decoders that can, the one in use first; ("built in",) for uncompressed data.
    remedy
        The command that installs the missing decoder, or a limit that remains; None if there is nothing to
        do.
    """

    name: str
    uid: str
    available: bool
    by: tuple[str, ...]
    remedy: str | None


def decoder_table() -> list[DecoderStatus]:
    """Return the state of every transfer syntax that roco knows, for ``roco doctor``."""
    return [_status(uid) for uid in sorted(_PREFERRED, key=lambda uid: [int(part) for part in uid.split(".")])]


def _status(uid: str) -> DecoderStatus:
    silence()
    if _PREFERRED[uid] is None:
        return DecoderStatus(syntax_name(uid), uid, True, ("built in",), None)
    by = plugins(uid)
    remedy = None if by else remedy_for(uid)
    if uid == JPEG_EXTENDED and by and "pylibjpeg" not in by:
        remedy = f"8 bits only; for 12 bits: {remedy_for(uid)} (GPL-3.0)"
    return DecoderStatus(syntax_name(uid), uid, bool(by), by, remedy)


def plugins(uid: str) -> tuple[str, ...]:
    """Return the installed plugins that may decode a compressed transfer syntax, best first."""
    available = get_decoder(uid).available_plugins
    return tuple(name for name in _PREFERRED[uid] or () if name in available)


def remedy_for(uid: str) -> str:
    """Return the command that installs the best missing decoder of a compressed transfer syntax."""
    return _REMEDIES.get(uid, _OPENJPEG_REMEDY)


def syntax_name(uid: str) -> str:
    """Return the registered name of a transfer syntax, which is safe to show, unlike an unregistered UID."""
    from pydicom.uid import UID

    return UID(uid).name


def get_decoder(uid: str) -> "Decoder":
    """Return pydicom's decoder of a transfer syntax.

    Raises
    ------
    UnreadableImage
        If it is a syntax that no decoder here could ever read: video, JPIP, retired ones, private ones.
    """
    from pydicom.pixels.decoders.base import get_decoder as pydicom_decoder
    from pydicom.uid import UID

    from roco_search.imaging.dicom.tags import registered_uid

    if uid in _PREFERRED:
        return pydicom_decoder(UID(uid))
    if registered_uid(uid, "Transfer Syntax") is None:
        raise UnreadableImage("its transfer syntax is not one that the standard registers; export it uncompressed")
    raise UnreadableImage(f"its transfer syntax, {syntax_name(uid)}, is not decoded by roco; export it uncompressed")


def silence() -> None:
    """Silence pydicom, Pillow and GDCM for this process. Cheap, and called before every file is read."""
    # Each time, because a `catch_warnings` block of the host program takes the filters with it when it ends.
    for module in (r"pydicom(\.|$)", r"PIL(\.|$)"):
        warnings.filterwarnings("ignore", module=module)
    _silence_logs()


@cache
def _silence_logs() -> None:
    for logger in ("pydicom", "PIL", "pylibjpeg"):
        # Child loggers take their level from here; a filter would not reach their records.
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    with contextlib.suppress(ImportError):
        trace = import_module("gdcm").Trace
        trace.WarningOff()
        trace.ErrorOff()
        trace.DebugOff()
