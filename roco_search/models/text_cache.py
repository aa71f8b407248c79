"""Embeddings of texts that never change, such as the prompts of the vocabulary: computed once per model, then read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO

import numpy as np
import numpy.typing as npt

from roco_search.models.compiling.cache import private_folder
from roco_search.models.compiling.towers import folder_of
from roco_search.models.encoder import Encoder
from roco_search.models.onnx_encoder import OnnxEncoder
from roco_search.system.files import write_file


def encode_texts_once(encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Embed texts as float32 ``(n, dim)`` of unit norm, or read what was embedded earlier.

    Only a compiled text tower is remembered, by the model's fingerprint, the tower's arithmetic and the texts: the
    weights of a torch model may change while it is in memory. Without the cache 60 short texts take roco-mini 0.2 s,
    most of it for loading a tokenizer.
    """
    form = encoder.text_form if isinstance(encoder, OnnxEncoder) else None
    if form is None:
        return np.asarray(encoder.encode_texts(texts), np.float32)
    name = sha256("\0".join(texts).encode()).hexdigest()[:16]
    path = folder_of(encoder.fingerprint) / f"texts-{form}-{name}.npy"
    with suppress(OSError, ValueError, EOFError):
        found = np.load(path, allow_pickle=False)
        if found.dtype == np.float32 and found.shape == (len(texts), encoder.dim):
            return np.asarray(found)
    vectors = np.asarray(encoder.encode_texts(texts), np.float32)
    content = BytesIO()
    np.save(content, vectors, allow_pickle=False)
    with suppress(OSError):  # A full or read-only disk only costs the time of embedding again.
        private_folder(path.parent)
        write_file(path, content.getvalue())
    return vectors
