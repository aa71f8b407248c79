"""Whether a model and a library belong together."""

from typing import TYPE_CHECKING

from roco_search.errors import ModelMismatch
from roco_search.library.records import EmbeddingSet

if TYPE_CHECKING:
    from roco_search.models.encoder import Encoder


def check_model(active: EmbeddingSet, encoder: "Encoder") -> None:
    """Refuse an encoder whose embeddings cannot be compared with those of the library.

    Raises
    ------
    ModelMismatch
    """
    if active.fingerprint == encoder.fingerprint:
        return
    other = "another version of it" if active.model == encoder.name else encoder.name
    raise ModelMismatch(
        f"This library was made with the model {active.model}, and {other} was asked for; use --model "
        f"{active.model}, or embed the library again with `roco index --reembed --model {encoder.name}`."
    )
