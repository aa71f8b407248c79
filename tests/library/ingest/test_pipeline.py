"""A vector belongs to its row, in whatever order good and bad files come."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roco_search.errors import UnsupportedModel
from roco_search.imaging import Frame, open_image
from roco_search.library.ingest import pipeline
from roco_search.library.ingest.pipeline import embed_files
from roco_search.library.ingest.plan import Candidate
from roco_search.library.ingest.reading import read_file
from roco_search.system.process import cores
from tests.library.toy import ToyEncoder, draw, draw_pages, spoil

KINDS = st.sampled_from(["good", "spoiled", "text", "pages", "missing", "large", "empty"])


def write(folder: Path, number: int, kind: str) -> Candidate:
    path = folder / f"{number:03}.{'txt' if kind == 'text' else 'png'}"
    match kind:
        case "good":
            draw(path, number)
        case "large":
            draw(path, number, size=300)
        case "spoiled":
            spoil(path, number)
        case "pages":
            draw_pages(path, range(number, number + 4))
        case "text":
            path.write_text("words")
        case "empty":
            path.write_bytes(b"")
    return Candidate(str(path), str(folder), "all", None, None)


@settings(max_examples=25)
@given(kinds=st.lists(KINDS, max_size=14), batch_size=st.integers(1, 6), limit=st.sampled_from([1, 5_000, 10**6]))
def test_every_vector_is_that_of_its_own_frame(kinds: list[str], batch_size: int, limit: int) -> None:
    encoder = ToyEncoder()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "MAX_BYTES", limit)
        work = [write(Path(name), number, kind) for number, kind in enumerate(kinds)]
        finished = [file for files in embed_files(work, encoder, batch_size=batch_size) for file in files]
        assert [file.candidate for file in finished] == work
        for file, kind in zip(finished, kinds, strict=True):
            expected = {"spoiled": "unreadable", "empty": "unreadable", "text": "other", "missing": "vanished"}
            assert file.outcome.kind == expected.get(kind, "image")
            if file.outcome.kind != "image":
                assert file.vectors == []
                continue
            own = [encoder.encode_one(frame.pixels)[0] for frame in open_image(file.candidate.path, frames="all")]
            np.testing.assert_allclose(file.vectors, own, atol=1e-6)
    assert max(encoder.batches, default=0) <= batch_size


def test_pixels_in_memory_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 200 * 200 * 3
    monkeypatch.setattr(pipeline, "MAX_BYTES", 6 * size)
    work = []
    for number in range(40):
        path = draw(tmp_path / f"{number:02}.png", number, size=200)
        work.append(Candidate(str(path), str(tmp_path), "middle", None, None))
    decoded: list[Frame] = []
    held: list[int] = []

    def watch(*arguments: Any, **options: Any) -> Iterator[Any]:
        for piece in read_file(*arguments, **options):
            if isinstance(piece, Frame):
                decoded.append(piece)
            yield piece

    class Watching(ToyEncoder):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            held.append(len(decoded) - sum(self.batches))
            return super().encode_images(images)

    monkeypatch.setattr(pipeline, "read_file", watch)
    encoder = Watching()
    assert sum(len(files) for files in embed_files(work, encoder, batch_size=32)) == 40
    assert sum(encoder.batches) == 40 and max(encoder.batches) == 6
    # Six in a batch, six that wait, one that each thread has just decoded.
    assert max(held) <= 6 + 6 + cores()


def test_closing_early_ends_the_readers(tmp_path: Path) -> None:
    work = [write(tmp_path, number, "good") for number in range(60)]
    batches = embed_files(work, ToyEncoder(), batch_size=4)
    assert next(batches)
    batches.close()
    import threading

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("roco-read")]


def test_wrong_shape_is_refused(tmp_path: Path) -> None:
    class Wrong(ToyEncoder):
        def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
            return super().encode_images(images)[:, :3]

    with pytest.raises(UnsupportedModel, match=r"shape \(1, 3\) instead of \(1, 24\)"):
        list(embed_files([write(tmp_path, 0, "good")], Wrong()))
