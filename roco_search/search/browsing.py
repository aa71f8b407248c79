"""The pictures of a library before anything is asked: those that were indexed last come first."""

import math

from roco_search.library import Library
from roco_search.models.encoder import Encoder
from roco_search.search.filters import Filters, resolve
from roco_search.search.hits import GroupBy, Hit, RankedGroup, group_key, guessed_terms, hit_of

AT_ONCE = 256


def browse(
    library: Library,
    *,
    encoder: Encoder,
    filters: Filters | None = None,
    guess: bool = False,
    n: int,
    offset: int = 0,
    group_by: GroupBy = "series",
) -> list[tuple[int, Hit]]:
    """Return one picture of each group, the last indexed first, with the ids of their frames.

    Parameters
    ----------
    library
        Where to look.
    encoder
        Its model, which says what the headers do not.
    filters, group_by
        As for `search`.
    guess
        Whether filters believe the model where a header says nothing.
    n, offset
        How many groups to return, after how many others.

    Raises
    ------
    InputError
        If the library has no picture of a filter's value.
    """
    from roco_search.classify.guesses import Guesses

    guesses = Guesses(encoder)
    with library.snapshot():
        among = None if filters is None else resolve(library, filters, guesses if guess else None)
        ids = library.embedded(among)[::-1]
        groups: list[RankedGroup] = []
        seen = set()
        for start in range(0, len(ids), AT_ONCE):
            for frame in library.frames.get(ids[start : start + AT_ONCE].tolist()).values():
                if (key := group_key(frame, group_by)) not in seen:
                    seen.add(key)
                    groups.append(RankedGroup(frame, math.nan))
            if len(groups) >= n + offset:
                break
        groups = groups[offset : offset + n]
        guessed = guessed_terms(library, groups, guesses)
    return [
        (group.frame.id, hit_of(group, rank, guessed=terms))
        for rank, (group, terms) in enumerate(zip(groups, guessed, strict=True), start=offset + 1)
    ]
