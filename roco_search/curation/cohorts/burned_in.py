"""Which images may carry text in their pixels, as far as a header shows."""

from __future__ import annotations

from roco_search.imaging import Tags

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.6.2")
_SHOWN_WITH_TEXT = {
    "US": "ultrasound",
    "IVUS": "intravascular ultrasound",
    "ECG": "a recording",
    "ES": "endoscopy",
    "XC": "a photograph",
    "OT": "of another modality",
    "SC": "a secondary capture",
}


def why_text_is_likely(tags: Tags | None) -> str | None:
    """Return why an image may have text burnt into its pixels; None where nothing speaks for it.

    Parameters
    ----------
    tags
        Of its header; None for a file that has none, which says nothing either way.

    Notes
    -----
    Burned In Annotation (0028,0301) decides where it is "YES". "NO" is believed of acquired images alone: on secondary
    captures and in ultrasound it is often wrong, as those who clean data sets report.
    """
    if tags is None:
        return "its file has no header that says whether its pixels have text"
    if tags.burned_in:
        return "its header says that its pixels have text"
    if (tags.sop_class or "").startswith(_SECONDARY_CAPTURE):
        return "it is a secondary capture"
    if tags.sop_class in _ULTRASOUND or tags.modality in _SHOWN_WITH_TEXT:
        return f"it is {_SHOWN_WITH_TEXT.get(tags.modality or '', 'ultrasound')}"
    return None
