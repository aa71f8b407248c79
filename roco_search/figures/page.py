"""One HTML page with everything inside: it can be archived and printed, and asks nobody for anything.

A Content Security Policy forbids the page every request and every script, so that not even a mistake in here could
send anything anywhere. Names are text that anybody may have chosen: `escape` them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import InputError
from roco_search.system.files import write_errors, write_file

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 85  # of JPEGs inside a page
_MARK = '<meta name="generator" content="roco {kind}">'

STYLE = """
:root { color-scheme: light dark; --line: #8885; --quiet: #777; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
header p, footer, .quiet { color: var(--quiet); margin: .3rem 0; }
ol { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); list-style: none;
  margin: 1.5rem 0; padding: 0; }
li { border: 1px solid var(--line); border-radius: .5rem; break-inside: avoid; overflow: hidden; }
.picture { align-items: center; aspect-ratio: 1; background: #000; color: #ccc; display: flex; justify-content: center;
  margin: 0; padding: 0; print-color-adjust: exact; text-align: center; }
.picture img { height: 100%; object-fit: contain; width: 100%; }
.facts { margin: 0; padding: .6rem .8rem; }
.facts b { font-variant-numeric: tabular-nums; }
.path { color: var(--quiet); display: block; font-size: .8rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem; text-align: left; }
td.number, th.number { text-align: right; }
figure { background: #fff; border-radius: .5rem; break-inside: avoid; color: #000; margin: 1rem 0; max-width: 56rem;
  padding: .6rem; }
figure svg, figure img { height: auto; max-width: 100%; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e6e6; } :root { --quiet: #9aa0a8; } }
@media print { body { background: #fff; color: #000; margin: 0; } ol { grid-template-columns: repeat(3, 1fr); } }
"""


def page(kind: str, title: str, body: str) -> str:
    """Return a page, ASCII alone.

    Parameters
    ----------
    kind
        What roco calls such a page; `write_page` overwrites only pages of the same kind.
    title
        As plain text.
    body
        HTML, in which everything that somebody else may have chosen is escaped.
    """
    styles = [STYLE, *re.findall(r"<style[^>]*>(.*?)</style>", body, re.DOTALL)]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in styles]
    policy = f"default-src 'none'; img-src data:; style-src {' '.join(dict.fromkeys(hashes))}; "
    if "<svg" in body:  # matplotlib styles each shape; under default-src 'none' that cannot request anything
        policy += "style-src-attr 'unsafe-inline'; "
    policy += "base-uri 'none'; form-action 'none'"
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{_MARK.format(kind=kind)}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
<footer>For research, not for clinical use.</footer>
</body>
</html>
"""
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def is_ours(path: Path, kind: str) -> bool:
    """Whether a file is a page of this kind."""
    return path.is_file() and _MARK.format(kind=kind).encode() in path.read_bytes()[:2000]


def write_page(path: Path, kind: str, content: str) -> None:
    """Write a page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite what is not such a page.
    StorageFull
    """
    with write_errors(path):
        if path.exists() and not is_ours(path, kind):
            raise InputError(f"{path} exists and is no {kind} of roco, so it is kept; give another name.")
        write_file(path, content)


def picture(image: Image, alt: str) -> str:
    """Return an image as an ``<img>`` that holds its own data."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{encoded}" alt="{escape(alt)}">'


def escape(text: str) -> str:
    """Return any text safe for a page; control characters and undecodable bytes are shown escaped."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )
    return html.escape(shown, quote=True)
