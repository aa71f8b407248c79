"""All errors that roco raises on purpose, as one tree.

    RocoError
    ├── InputError              an argument that cannot be used: a missing path, an empty folder
    ├── StorageFull             the disk is full, or a quota is reached
    ├── Busy                    another process holds what is needed: a library, a model, a socket
    ├── HubError                the hub cannot be reached, or does not provide a model or a data set
    ├── ImageError              one file that does not become pictures
    │   ├── UnreadableImage         corrupt, truncated, too large, or its decoder is missing
    │   └── NotAnImage              a DICOM object that holds no picture (a report, a segmentation, …)
    ├── ModelError
    │   ├── ModelNotFound           no such model on this disk
    │   └── UnsupportedModel        a model is there, but not one that can be loaded safely
    ├── LibraryError
    │   ├── LibraryNotFound         no library at this place
    │   ├── LibraryEmpty            a library without a single image
    │   ├── LibraryTooNew           written by a newer roco
    │   ├── LibraryUnreachable      no network, server or share for a shared one
    │   ├── LibraryCorrupt          SQLite finds the store damaged
    │   └── ModelMismatch           its vectors come from another model
    ├── MirrorError             a mirror in another engine cannot be written, or is not what it should be
    └── TrainingError           training data or settings that cannot work

The message of each is one sentence, followed by what the user can do about it. Messages name paths and
numbers; they never hold a value read from an image's header, because a header can name a patient.

A message names a parameter in backticks, as a Python caller would write it: "choose another `output`, or set
`force=True`". The command line prints the flag in its place (`cli.output.with_flags`), so no message below ``cli/``
names a flag.
"""


class RocoError(Exception):
    """Base of all errors that roco raises on purpose. ``str(error)`` is meant for the user and ends with the remedy."""


class InputError(RocoError):
    """An argument that cannot be used."""


class StorageFull(RocoError):
    """The disk that is written to is full, or a quota is reached.

    Parameters
    ----------
    said
        What happened, and what is kept.
    remedy
        The sentence that ends the message; by default the command is run again.
    """

    def __init__(self, said: str, remedy: str | None = None) -> None:
        self.said, self.remedy = said, remedy
        super().__init__(f"{said} {remedy or 'Free some space and run the same command again.'}")


class Busy(RocoError):
    """Another process holds what is needed."""


class HubError(RocoError):
    """The hub cannot be reached, refuses a request, or sent something other than it announced."""


class ImageError(RocoError):
    """One file that does not become pictures. Its message is the reason, without the path."""


class UnreadableImage(ImageError):
    """An image that cannot be read: corrupt, truncated, too large, or without a decoder here."""


class NotAnImage(ImageError):
    """A DICOM object that holds no picture. Passing over it is not a failure."""


class ModelError(RocoError):
    """Something about a model."""


class ModelNotFound(ModelError):
    """No such model on this disk."""


class UnsupportedModel(ModelError):
    """A model is there, but not one that can be loaded, or loaded safely."""


class LibraryError(RocoError):
    """Something about a library on disk."""


class LibraryNotFound(LibraryError):
    """No library at this place."""


class LibraryEmpty(LibraryError):
    """The library holds no image that could be found."""


class LibraryTooNew(LibraryError):
    """The library was written by a newer roco."""


class LibraryUnreachable(LibraryError):
    """A shared library cannot be reached now: the network, the share, or its server is missing."""


class LibraryCorrupt(LibraryError):
    """SQLite finds the store damaged."""


class ModelMismatch(LibraryError):
    """The library's vectors were made by another model."""


class MirrorError(RocoError):
    """A mirror in another engine cannot be written, is of something else, or does not answer as it should."""


class TrainingError(RocoError):
    """Training data or settings that cannot work."""
