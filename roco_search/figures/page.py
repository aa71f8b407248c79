"""HTML by templates that escape whatever they are given, and the page that holds everything in itself.

A template is a file beside the module that uses it, and `render` takes its path below the package, such as
``figures/page.html``. jinja2 is imported when the first template is rendered: a query without a page never loads it.

A page can be archived and printed, and requests nothing: its Content Security Policy forbids every request and every
script but the page's own, named by its hash, so that not even a mistake made here could send anything anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from roco_search.errors import InputError
from roco_search.system.files import write_errors, write_file
from roco_search.system.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from PIL.Image import Image

PACKAGE = Path(__file__).parents[1]
QUALITY = 85  # of JPEGs inside a page


def render(template: str, **values: object) -> Markup:
    """Return HTML (or SVG) written by a template.

    Parameters
    ----------
    template
        Path of the template below the package.
    **values
        What the template names. Everything but `Markup` is shown as text: HTML's own characters are escaped, control
        characters and undecodable bytes are written out (``\\x1b``), and so are the braces, dollars and backticks
        that the demo's components would evaluate as templates of their own.

    Raises
    ------
    jinja2.UndefinedError
        If a value is missing.
    """
    return mark_safe(_environment().get_template(template).render(**values))


def mark_safe(text: str) -> Markup:
    """Mark text as HTML, to be inserted as it is: whatever somebody else may have chosen is escaped in it already."""
    from markupsafe import Markup

    return Markup(text)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_as_text,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _as_text(value: object) -> Markup:
    from markupsafe import Markup, escape

    if isinstance(value, Markup):
        return value
    text = str(escape(printable(str(value))))
    return Markup(text.replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;"))


def page(kind: str, title: str, body: Markup, script: str = "") -> str:
    """Return a whole page, in ASCII.

    Parameters
    ----------
    kind
        What roco calls such a page; `write_page` overwrites only pages of the same kind.
    title
        Plain text.
    body
        What `render` returned; a plain string would be shown as text.
    script
        A script of our own in ASCII, the only one that the page may run; none by default.
    """
    style = (PACKAGE / "figures" / "page.css").read_text("ascii")
    styles = [style, *re.findall(r"<style[^>]*>(.*?)</style>", body, re.DOTALL)]
    policy = f"default-src 'none'; img-src data:; style-src {' '.join(dict.fromkeys(map(_source, styles)))}; "
    if script:
        policy += f"script-src {_source(script)}; "
    if "<svg" in body:  # matplotlib styles each shape; under default-src 'none' a style cannot request anything
        policy += "style-src-attr 'unsafe-inline'; "
    policy += "base-uri 'none'; form-action 'none'"
    text = render(
        "figures/page.html", kind=kind, title=title, policy=policy, style=mark_safe(style), body=body,
        script=mark_safe(script),
    )  # fmt: skip
    return f"{text}\n".encode("ascii", "xmlcharrefreplace").decode("ascii")


def _source(text: str) -> str:
    """Return how a policy names an inline style or script (CSP 3, 8.3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def is_ours(path: Path, kind: str) -> bool:
    """Whether a file is a page of this kind."""
    return path.is_file() and f'name="generator" content="roco {kind}"'.encode() in path.read_bytes()[:2000]


def write_page(path: Path, kind: str, content: str) -> None:
    """Write a page, readable by its owner alone, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or would overwrite a file that is not such a page.
    StorageFull
    """
    with write_errors(path):
        if path.exists() and not is_ours(path, kind):
            raise InputError(f"{path} exists and is not a roco {kind}, so it is kept; choose another name.")
        write_file(path, content)


def data_uri(image: Image) -> str:
    """Return an image as a JPEG in a ``data:`` address, for the ``src`` of a picture."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
