"""Text for people: names from elsewhere made safe to show, sizes, durations."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text whose control characters and undecodable bytes are written out as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def size(count: int) -> str:
    """Return a number of bytes as "512 B", "12 KB", "340 MB", "1.2 GB" or "2.0 TB", in powers of 1000."""
    amount = float(count)
    for unit in ("B", "KB", "MB"):
        if round(amount) < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB" if round(amount, 1) < 1000 else f"{amount / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time as "1 h 20 min", "3 min 05 s" or "12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
