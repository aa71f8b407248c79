"""Text from elsewhere, such as a file's name, made safe to show."""


def printable(text: str) -> str:
    """Return text whose control characters and undecodable bytes are written out as escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )
