"""Wrong usage: one way to refuse it, one look, and the other names that people use for roco's commands and options."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import typer

ParserError: type[Any] = typer.BadParameter.__mro__[1]
"""What the parser of the command line raises: an unknown command or option, a missing or malformed value."""

COMMANDS_MEANT = {
    "query": "search find look-up lookup ask retrieve text-search image-search",
    "similar": "neighbors neighbours nearest like knn",
    "index": "add ingest scan build update refresh embed",
    "classify": "label predict tag zero-shot zeroshot",
    "train": "tune fine-tune finetune fit learn",
    "eval": "evaluate evaluation benchmark measure test validate",
    "demo": "web gui ui app browse browser gradio webui",
    "map": "plot umap tsne visualize visualise",
    "duplicates": "duplicate dedup dedupe deduplicate",
    "outliers": "outlier anomalies anomaly",
    "status": "info stats show ls list",
    "doctor": "check health diagnose",
    "serve": "server daemon warm",
    "model pull": "pull download fetch install",
    "model list": "models",
    "library list": "libraries",
    "library remove": "rm remove delete forget",
    "--version": "version",
}
"""A command, and what people type for it."""

SUBCOMMANDS_MEANT = {
    "list": "ls show all",
    "pull": "download fetch install get add",
    "use": "default set select switch",
    "info": "describe details",
    "remove": "rm delete uninstall forget",
    "verify": "check test",
    "vacuum": "compact clean cleanup gc",
    "move": "mv",
}

OPTIONS_MEANT = {
    "--top": "limit count number num k topk top-k results max hits size first",
    "--offset": "skip page start from",
    "--min-score": "threshold min score cutoff minimum",
    "--modality": "modalities type kind",
    "--body-part": "bodypart body part region anatomy organ",
    "--under": "folder dir directory in within path-prefix",
    "--path": "glob pattern name file",
    "--minus": "not without exclude negative",
    "--plus": "and with also positive",
    "--group-by": "group unique collapse",
    "--library": "lib db database index collection store",
    "--model": "encoder checkpoint weights",
    "--base": "model from start encoder checkpoint",
    "--output": "out output-dir save save-dir o",
    "--out": "output file save",
    "--json": "format output-format as-json",
    "--device": "gpu cuda cpu mps",
    "--labels": "label classes class prompts",
    "--learning-rate": "lr rate",
    "--batch-size": "batch bs",
    "--micro-batch": "gradient-accumulation accumulate chunk",
    "--max-steps": "steps iterations iters",
    "--epochs": "epoch",
    "--split": "subset part",
    "--where": "filter only",
    "--licence": "license",
    "--against": "compare compare-with versus vs baseline",
    "--html": "page web contact-sheet",
    "--retry-failed": "retry",
    "--prune-missing": "prune delete-missing",
    "--quiet": "silent q",
}
"""An option, and what people type for it, without the hyphens in front."""


class Misuse(Exception):
    """A command was called in a way that it does not accept. The message is one sentence with the remedy."""


def refuse(message: str) -> NoReturn:
    """Refuse the way in which a command was called: ``main`` prints the sentence and exits with ``USAGE``."""
    raise Misuse(message)


def sentence(error: Any) -> str | None:
    """Return what to print for an error of the parser; None where that has printed the help already."""
    command = error.ctx.command_path if error.ctx else "roco"
    remedy = f"'{command} --help' shows what it takes"
    match type(error).__name__:
        case "NoArgsIsHelpError":
            return None
        case "NoSuchOption":
            return _no_such_option(error, command, remedy)
        case "MissingParameter":
            return f"{_name(error.param)} is missing; {remedy}."
        case "BadParameter":
            message = re.sub(r"a valid (integer|int|float)( range)?\b", "a number", error.message.rstrip("."))
            message = re.sub(r"is not in the range x>=(\S+)$", r"is less than \1, the least that it can be", message)
            message = re.sub(r"is not in the range (\S+)<=x<=(\S+)$", r"is not between \1 and \2", message)
            return f"{_name(error.param)}: {message}." if error.param else f"{message}."
    if unknown := re.match(r"No such command '(.*?)'", error.message):
        return _no_such_command(unknown[1], error.message, command)
    return f"{error.format_message().rstrip('.')}; {remedy}."


def _no_such_command(name: str, message: str, command: str) -> str:
    table = COMMANDS_MEANT if command == "roco" else SUBCOMMANDS_MEANT
    if meant := _meant(name, table):
        return f"No such command '{name}'. Did you mean '{command} {meant}'?"
    return message if "Did you mean" in message else f"No such command '{name}'; '{command} --help' lists them."


def _no_such_option(error: Any, command: str, remedy: str) -> str:
    known = {option for parameter in error.ctx.command.params for option in parameter.opts} if error.ctx else set()
    table = {option: words for option, words in OPTIONS_MEANT.items() if option in known}
    close = " or ".join(sorted(error.possibilities or ()))
    meant = _meant(error.option_name.lstrip("-").replace("_", "-"), table) or close
    said = f"'{command}' has no option {error.option_name}"
    return f"{said}. Did you mean {meant}?" if meant else f"{said}; {remedy}."


def _meant(word: str, table: dict[str, str]) -> str | None:
    return next((name for name, words in table.items() if word.lower() in words.split()), None)


def _name(parameter: Any) -> str:
    options = getattr(parameter, "opts", ())
    longest = max(options, key=len, default="")
    return longest if longest.startswith("-") else str(parameter.metavar or longest.upper()).strip("[].…")
