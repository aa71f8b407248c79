"""Draw the README's picture: real commands in a real terminal, as an SVG.

    python scripts/readme/draw.py > scripts/readme/query.svg

What it shows are the example images, in a folder named ``scans``.
"""

from __future__ import annotations

import io
import os
import pty
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

EXAMPLES = Path(__file__).parents[2] / "roco_search" / "examples"
WIDTH = 100
COMMANDS = (["roco", "index", "./scans"], ["roco", "query", "chest X-ray", "-n", "6"])


def main() -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"ROCO_LIBRARY": f"{place}/library", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
        shutil.copytree(EXAMPLES, f"{place}/scans", ignore=shutil.ignore_patterns("*.csv", "*.md"))
        os.chdir(place)
        for command in COMMANDS:
            shown = " ".join(f'"{word}"' if " " in word else word for word in command)
            console.print(Text.assemble(("$ ", "green"), (shown, "bold")))
            screen = run(command)
            console.print(Text.from_ansi(screen.strip()))
            console.print()
    sys.stdout.write(console.export_svg(title="roco"))


def run(command: list[str]) -> str:
    """Run a command in a terminal of its own and return what is left on the screen."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(command[0], command)
    output = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the child has closed its end
            break
        if not chunk:
            break
        output += chunk
    os.waitpid(process, 0)
    text = output.decode("utf-8", "replace")
    # What the progress bar drew was erased again; only what follows the last erased line stays.
    return text.rpartition("\x1b[2K")[2].replace("\r\n", "\n").replace("\x1b[?25h", "").replace("\r", "")


if __name__ == "__main__":
    main()
