"""A library with the toy encoder, as the library's own tests have it."""

from tests.library.conftest import opened, scans

__all__ = ["opened", "scans"]
