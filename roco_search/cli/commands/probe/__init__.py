"""``roco probe``: few-shot classifiers on the vectors of a library."""

from __future__ import annotations

import typer

from roco_search.cli.commands.probe.apply import apply, next_
from roco_search.cli.commands.probe.fit import fit
from roco_search.cli.commands.probe.manage import export, import_, list_, remove, rename, show
from roco_search.cli.commands.probe.space import space

app = typer.Typer(no_args_is_help=True, help="Teach the library labels of your own: fit, apply, next, space, list.")
app.command()(fit)
app.command()(space)
app.command()(apply)
app.command("next")(next_)
app.command("list")(list_)
app.command()(show)
app.command()(rename)
app.command()(remove)
app.command()(export)
app.command("import")(import_)
