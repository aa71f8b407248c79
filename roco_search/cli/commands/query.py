"""``roco query``: find images in words, by images, or by a sum of both."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from roco_search.cli.asking import check_marks, deliver, read_lines, read_terms, refuse_beside_queries, taught
from roco_search.cli.options import (
    LOCAL,
    CsvOption,
    DeviceOption,
    GuessOption,
    JsonlOption,
    JsonOption,
    LibraryOption,
    PathsOption,
    Print0Option,
    body_parts,
    checked_device,
    groupings,
    in_panels,
    modalities,
    one_format,
    one_of,
    views,
)
from roco_search.cli.output import NOTHING, print_jsonl, say, short_path
from roco_search.cli.render.hits import show
from roco_search.cli.terminal import Waiting
from roco_search.cli.usage import refuse
from roco_search.system import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from roco_search.cli.options import Offer
    from roco_search.search import GroupBy, Hit

    Find = Callable[..., list[Hit]]

PANELS = {
    "Query": ("plus", "minus", "text", "verbatim", "cosine", "pictures_only", "captions_only", "queries"),
    "Filters": ("modality", "body_part", "view", "under", "path", "text_match", "where", "guess", "library"),
    "What was taught": ("probe", "mark", "session"),
    "Which hits": ("top", "offset", "min_score", "only_matches", "group_by", "no_fold", "exact", "approx", "device"),
    "Output": ("explain", "preview", "json", "jsonl", "csv", "paths", "print0"),
    "Actions": ("html", "copy_to", "open_first"),
}


def _many(metavar: str, about: str, complete: Callable[[str], Offer] | None = None) -> typer.models.OptionInfo:
    option = typer.Option(metavar=metavar, help=f"{about} Repeatable.", show_default=False, autocompletion=complete)
    return cast("typer.models.OptionInfo", option)


Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TERM]...", help="Words, or an image file to find similar images.", show_default=False),
]
Plus = Annotated[list[str] | None, _many("[W:]TERM", "Add this text or image, with weight W [default: 1].")]
Minus = Annotated[list[str] | None, _many("[W:]TERM", "Subtract this text or image.")]
Text = Annotated[bool, typer.Option("--text", help="Treat every term as words, even if a file has that name.")]
Verbatim = Annotated[bool, typer.Option("--verbatim", help="Take the words as typed: no spelling, no synonyms.")]
Cosine = Annotated[bool, typer.Option("--cosine", help="Rank by the cosine similarity alone.")]
OnlyMatches = Annotated[
    bool, typer.Option("--only-matches", help="Leave out what does not fit; exit with 4 if nothing remains.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Print below each hit why it is one.")]
PicturesOnly = Annotated[bool, typer.Option("--pictures-only", help="Leave captions out of the ranking.")]
CaptionsOnly = Annotated[bool, typer.Option("--captions-only", help="Rank by captions alone.")]
Queries = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of queries, one per line (- for stdin); prints one line of JSON for each.",
        show_default=False,
    ),
    LOCAL,
]
Modality = Annotated[list[str] | None, _many("TERM", "Only this modality, such as CT or ultrasound.", modalities)]
BodyPart = Annotated[list[str] | None, _many("TERM", "Only this body part, such as chest.", body_parts)]
View = Annotated[list[str] | None, _many("TERM", "Only this view, such as PA.", views)]
Under = Annotated[list[Path] | None, _many("PATH", "Only this folder or file.")]
PathPattern = Annotated[list[str] | None, _many("PATTERN", "Only paths that match this pattern; \\* matches anything.")]
TextMatch = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS",
        help="Only images with these words in their caption: '\"pleural effusion\" NOT resolved'.",
        show_default=False,
    ),
]
Where = Annotated[
    list[str] | None, _many("LABEL>X", "Only images to which a probe gives such a probability: 'effusion>0.8'.")
]
Probe = Annotated[
    str | None,
    typer.Option(metavar="NAME[:LABEL]", help="Rank by a probe, alone or together with words.", show_default=False),
]
Mark = Annotated[
    bool, typer.Option("--mark", help="Mark hits yes or no by their numbers; the next page is ranked with that."), LOCAL
]
Session = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --mark: keep the marks under this name, or go on.", show_default=False),
    LOCAL,
]
Top = Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="The number of hits.")]
Offset = Annotated[int, typer.Option(min=0, metavar="N", help="Skip the first N hits.")]
MinScore = Annotated[
    float | None,
    typer.Option(min=-1, max=1, metavar="X", help="The minimum score.", show_default=False),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="series|study|file|none",
        help="Show the best hit of each [default: series].",
        show_default=False,
        autocompletion=groupings,
    ),
]
NoFold = Annotated[bool, typer.Option("--no-fold", help="Show near-duplicates of better hits too.")]
Exact = Annotated[bool, typer.Option("--exact", help="Compare with every vector, even if that is slower.")]
Approx = Annotated[bool, typer.Option("--approx", help="Use a graph (recall@10 of at least 0.99), built at first use.")]
Preview = Annotated[bool, typer.Option("--preview", help="Draw the hits in the terminal."), LOCAL]
Html = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write an HTML page that contains the images.", show_default=False),
    LOCAL,
]
CopyTo = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Copy the files of the hits into this folder.", show_default=False),
    LOCAL,
]
Open = Annotated[bool, typer.Option("--open", help="Open the first hit in your viewer."), LOCAL]
Device = Annotated[DeviceOption, LOCAL]


@in_panels(PANELS)
def query(
    words: Words = None,
    plus: Plus = None,
    minus: Minus = None,
    text: Text = False,
    verbatim: Verbatim = False,
    cosine: Cosine = False,
    pictures_only: PicturesOnly = False,
    captions_only: CaptionsOnly = False,
    queries: Queries = None,
    modality: Modality = None,
    body_part: BodyPart = None,
    view: View = None,
    under: Under = None,
    path: PathPattern = None,
    text_match: TextMatch = None,
    where: Where = None,
    probe: Probe = None,
    mark: Mark = False,
    session: Session = None,
    guess: GuessOption = False,
    top: Top = 10,
    offset: Offset = 0,
    min_score: MinScore = None,
    only_matches: OnlyMatches = False,
    group_by: Group = None,
    no_fold: NoFold = False,
    exact: Exact = False,
    approx: Approx = False,
    html: Html = None,
    copy_to: CopyTo = None,
    open_first: Open = False,
    preview: Preview = False,
    explain: Explain = False,
    json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    paths: PathsOption = False,
    print0: Print0Option = False,
    device: Device = "auto",
    library: LibraryOption = None,
) -> None:
    """Find the images of the library that are nearest to a text, to an image, or to a sum of both.

    A TERM that names a file is an image; all other words are joined into one text, which is understood, and ranked by
    all that is known of the images. The score is a cosine similarity, which is not a probability.

    Example: `roco query "pleural effusion"`
    """
    process.import_numpy_alone()
    from roco_search.daemon import warm
    from roco_search.library import default_library_path
    from roco_search.models.catalogue.registry import default
    from roco_search.search import Filters, GroupBy, named_in, read, read_query, search, unread

    shape = one_format(preview=preview, json=json, jsonl=jsonl, csv=csv, paths=paths, print0=print0)
    if group_by is not None:
        one_of("--group-by", group_by, get_args(GroupBy))
    _refuse_opposites(
        exact=exact, approx=approx, captions_only=captions_only, pictures_only=pictures_only, cosine=cosine
    )
    checked = checked_device(device)
    others: dict[str, object] = {"html": html, "copy_to": copy_to, "open": open_first, "probe": probe}
    check_marks(shape, mark=mark, session=session, plus=plus, minus=minus, queries=queries, **others)
    alone = probe is not None or session is not None  # ranked by a probe, or a session that is reopened
    if queries is not None:
        refuse_beside_queries(shape, TERM=words, plus=plus, minus=minus, **others)
        asked = [(line, read_query([line], text=text)) for line in read_lines(queries)]
    else:
        asked = [("", read_terms(words or [], plus or [], minus or [], text=text, alone=alone))]
    _say_how_read("modality", modality)
    _say_how_read("body_part", body_part)
    filters = Filters(
        modality=tuple(modality or ()),
        body_part=tuple(body_part or ()),
        view=tuple(view or ()),
        under=tuple(under or ()),
        path=tuple(path or ()),
        text_match=text_match,
    )
    with Waiting("Searching"), warm.library(library or default_library_path()) as opened:
        once = queries is None and not mark and not guess
        encoder = warm.encoder(opened.model.model if opened.model else default(), checked, once=once)
        find: Find = partial(
            search,
            opened,
            encoder,
            n=top,
            offset=offset,
            filters=filters,
            guess=guess,
            group_by=cast("GroupBy | None", group_by),
            fold=False if no_fold else None,
            min_score=min_score,
            mode="exact" if exact else "approximate" if approx else "auto",
            cosine=cosine,
            only_matches=only_matches,
            pictures_only=pictures_only,
            captions_only=captions_only,
        )
        if where or probe is not None:
            find = taught(opened, find, where or (), probe)
        if queries is not None:
            for line, terms in asked:
                said = None if cosine else read(opened, terms, verbatim=verbatim)
                print_jsonl({"query": line, "hits": find(terms, understood=said)})
                _note(unread(encoder, terms), named_in(opened, terms))
            return
        ((_, terms),) = asked
        if mark:
            from roco_search.cli.marking import mark_hits

            mark_hits(opened, encoder, find, words or [], session, top, text=text, verbatim=verbatim, cosine=cosine)
            return
        understood = None if cosine or not terms else read(opened, terms, verbatim=verbatim)
        if understood is not None and understood.line:
            say(f"Understood: {understood.line}")
        hits = find(terms, understood=understood)
        _note(unread(encoder, terms), named_in(opened, terms))
    if only_matches and not hits:
        say("Nothing here fits; leave out --only-matches to see what is nearest.")
        raise typer.Exit(NOTHING)
    _show(hits, shape, explain=explain)
    deliver(hits, terms, html, copy_to, open_first)


def _show(hits: list[Hit], shape: str, *, explain: bool) -> None:
    if shape == "preview":
        from roco_search.cli.render.contact_sheet import draw

        show(hits, draw=draw)
    else:
        show(hits, shape, explain=explain)


def _refuse_opposites(**given: bool) -> None:
    for one, other in (("exact", "approx"), ("captions_only", "pictures_only"), ("captions_only", "cosine")):
        if given[one] and given[other]:
            flags = " and ".join(f"--{name.replace('_', '-')}" for name in (one, other))
            refuse(f"{flags} are opposites; choose one of them.")


def _say_how_read(attribute: Literal["modality", "body_part"], values: list[str] | None) -> None:
    """Print which DICOM terms a word was read as, if they differ from the word."""
    from roco_search.search.filters import read_term

    for value in values or ():
        terms = read_term(attribute, value)
        if terms != (value.strip().upper(),):
            *others, last = terms
            read = f"{', '.join(others)} or {last}" if others else last
            say(f"Note: --{attribute.replace('_', '-')} {value} is read as {read}.")


def _note(unread: str | None, images: Sequence[Path]) -> None:
    if unread is not None:
        say(f"Note: {unread}")
    for path in images:
        say(f"Note: {short_path(path)} is in the library itself, and is left out of its own hits.")
