"""What an image is read from: a file, or the bytes of one in memory, such as a cell of a table."""

import io
from typing import BinaryIO, Literal, Protocol


class Source(Protocol):
    """Something that opens as a file of bytes; a `pathlib.Path` is one."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it at its beginning."""


class InMemory:
    """The content of an image file that lies in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it at its beginning."""
        return io.BytesIO(self._content)
