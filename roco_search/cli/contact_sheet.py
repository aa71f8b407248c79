"""Hits as one HTML page with every picture inside: it can be archived and printed, and asks nobody for anything.

A Content Security Policy forbids the page every request and every script, so that not even a mistake in here could
send anything anywhere. File names are text that anybody may have chosen; they are escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import InputError

from .hits import body_part, frame, group, modality
from .output import printable
from .thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roco_search.search import Hit, Term

SIDE = 320  # Pixels: sharp at the 240 CSS pixels of a card, and on paper.
QUALITY = 85
MARK = '<meta name="generator" content="roco contact sheet">'

STYLE = """
:root { color-scheme: light dark; --line: #8885; --quiet: #777; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
header p, footer { color: var(--quiet); margin: .3rem 0; }
ol { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); list-style: none;
  margin: 1.5rem 0; padding: 0; }
li { border: 1px solid var(--line); border-radius: .5rem; break-inside: avoid; overflow: hidden; }
.picture { align-items: center; aspect-ratio: 1; background: #000; color: #ccc; display: flex; justify-content: center;
  margin: 0; padding: 0; print-color-adjust: exact; text-align: center; }
.picture img { height: 100%; object-fit: contain; width: 100%; }
.facts { margin: 0; padding: .6rem .8rem; }
.facts b { font-variant-numeric: tabular-nums; }
.path { color: var(--quiet); display: block; font-size: .8rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e6e6; } :root { --quiet: #9aa0a8; } }
@media print { body { background: #fff; color: #000; margin: 0; } ol { grid-template-columns: repeat(3, 1fr); } }
"""


def contact_sheet(hits: Sequence[Hit], title: str) -> str:
    """Return the page, ASCII alone.

    Parameters
    ----------
    hits
        What was found; their files are read now. One that cannot be read shows the reason in its place.
    title
        What was looked for.
    """
    style_hash = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'"
    cards = "\n".join(_card(hit) for hit in hits)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{MARK}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{_text(title)}</h1>
<p>{len(hits)} images, the best first. The score is a cosine similarity: it ranks, it is not a probability.</p>
<p>This page contains the images themselves, and file names can name patients: keep it as you keep the scans.</p>
</header>
<ol>
{cards}
</ol>
<footer>For research, not for clinical use.</footer>
</body>
</html>
"""
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def write_contact_sheet(path: Path, hits: Sequence[Hit], terms: Sequence[Term]) -> None:
    """Write the page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite what is not such a page.
    """
    from roco_search.library.place import replace_file

    try:
        if path.exists() and (not path.is_file() or MARK.encode() not in path.read_bytes()[:2000]):
            raise InputError(f"{path} exists and is no contact sheet of roco, so it is kept; give another name.")
        content = contact_sheet(hits, describe(terms)).encode("ascii")
        replace_file(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give another place.") from None


def describe(terms: Sequence[Term]) -> str:
    """Return a query as a person would write it down."""
    parts = []
    for term in terms:
        content = term.content.name if isinstance(term.content, Path) else term.content
        weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
        parts.append(f"{'− ' if term.weight < 0 else '+ '}{weight}{content}")
    return " ".join(parts).removeprefix("+ ")


def _card(hit: Hit) -> str:
    known = [fact for fact in (modality(hit), body_part(hit), frame(hit) and f"frame {frame(hit)}", group(hit)) if fact]
    return (
        f'<li><p class="picture">{_picture(hit)}</p><p class="facts"><b>{hit.rank}. {hit.score:.3f}</b> '
        f'{_text(" · ".join(known))} <span class="path">{_text(hit.path)}</span></p></li>'
    )


def _picture(hit: Hit) -> str:
    image = thumbnail(hit, SIDE)
    if isinstance(image, str):
        return _text(image)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{encoded}" alt="{_text(Path(hit.path).name)}">'


def _text(text: str) -> str:
    return html.escape(printable(text), quote=True)
