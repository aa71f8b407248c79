"""What a search returns: plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture that was found, and what it stands for.

    Attributes
    ----------
    rank
        From 1, counted over all pages.
    score
        Cosine similarity of the embeddings, -1 to 1. It is no probability, and scores of different queries or
        models do not compare.
    path
        The file's real path.
    frame, frames
        Which frame of how many, from 0.
    modality, body_part, view
        As the file's header says, in DICOM's terms; None where it says nothing that can be trusted.
    series
        A keyed hash, equal for the images of one series in one library.
    rows, columns
        The stored matrix in pixels.
    study
        A keyed hash, equal for the images of one study in one library.
    modality_guessed, body_part_guessed
        Whether the value is the model's guess, because the header says nothing. Never without being asked for.
    more
        How many other pictures of its group (series, study, file) pass the filters and the least score.
    folded
        How many results would stand above the end of this page, were they not near-duplicates of this one.
    """

    rank: int
    score: float
    path: str
    frame: int
    frames: int
    modality: str | None
    body_part: str | None
    view: str | None
    series: str | None
    rows: int | None
    columns: int | None
    study: str | None = None
    modality_guessed: bool = False
    body_part_guessed: bool = False
    more: int = 0
    folded: int = 0
