"""Wrong usage: one sentence with one look, and what was probably meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roco_search.cli import chosen
from roco_search.cli.commands import COMMANDS
from roco_search.cli.usage import COMMANDS_MEANT, OPTIONS_MEANT
from tests.cli.conftest import Roco


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("search", "roco query"),
        ("find", "roco query"),
        ("ls", "roco status"),
        ("tune", "roco train"),
        ("fine-tune", "roco train"),
        ("evaluate", "roco eval"),
        ("web", "roco demo"),
        ("gui", "roco demo"),
        ("download", "roco model pull"),
        ("qurey", "query"),
    ],
)
def test_what_people_call_a_command_leads_to_it(roco: Roco, typed: str, meant: str) -> None:
    result = roco(typed, "chest x-ray", "--limit", 5)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"Error: No such command '{typed}'.") and f"'{meant}'?" in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("query", "CT", "--limit", 5), "--top"),
        (("query", "CT", "-k", 5), "--top"),
        (("query", "CT", "--body_part", "head"), "--body-part"),
        (("query", "CT", "--anatomy", "head"), "--body-part"),
        (("query", "CT", "--modalty", "MR"), "--modality"),
        (("train", "pairs", "--lr", 1), "--learning-rate"),
        (("index", "scans", "--db", "x"), "--library"),
    ],
)
def test_what_people_call_an_option_leads_to_it(roco: Roco, arguments: tuple[object, ...], meant: str) -> None:
    result = roco(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"Error: 'roco {arguments[0]}' has no option {arguments[2]}. Did you mean {meant}?\n"


def test_subcommands_are_suggested_too(roco: Roco) -> None:
    assert "Did you mean 'roco model pull'?" in roco("model", "download", "clip").err
    assert "Did you mean 'roco library remove'?" in roco("library", "rm", "x").err


def test_every_suggestion_exists() -> None:
    for meant in COMMANDS_MEANT:
        name, *rest = meant.split()
        assert name == "--version" or name in COMMANDS
        if rest:
            assert rest[0] in {
                command.name or command.callback.__name__ for command in COMMANDS[name].load().registered_commands
            }
    assert not {word for words in COMMANDS_MEANT.values() for word in words.split()} & COMMANDS.keys()
    from typer.main import get_command

    known = {
        option
        for name, command in COMMANDS.items()
        if not command.is_group
        for parameter in get_command(chosen([name])).commands[name].params  # type: ignore[attr-defined]
        for option in parameter.opts
    }
    assert OPTIONS_MEANT.keys() <= known


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ""),
        (("query",), "write what to look for"),
        (("query", "CT", "--top", "many"), "--top: 'many' is not a number."),
        (("query", "CT", "--top"), "--top"),
        (("query", "CT", "--json", "--csv"), "--json and --csv are different output formats"),
        (("query", "CT", "--device", "abacus"), "--device: 'abacus' is not one of auto, cpu, cuda, mps."),
        (("status", "now"), "unexpected extra argument"),
        (("train",), "DATA is missing; 'roco train --help' shows what it takes."),
        (("train", "pairs"), "--base is missing"),
        (("classify",), "No image is given"),
        (("eval", "pairs", "--labels", "a,b"), "need --classify"),
        (("export", "x.npy", "--format", "xml"), "--format: "),
        (("export", "x.npy", "--to", "postgresql://localhost/x"), "--to writes into an engine; leave FILE"),
        (("export", "x.npy", "--table", "scans"), "--table belongs to --to."),
        (("index", "scans", "--ray", "local"), "--ray needs --parts"),
        (("index", "scans", "--ray", "local", "--parts", "p", "--shard", "0/8"), "leave --shard out"),
        (("demo", "--push", "a/b"), "--export-space"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_one_sentence_and_exit_code_2(roco: Roco, arguments: tuple[object, ...], says: str) -> None:
    result = roco(*arguments)
    assert result.code == 2
    if arguments:
        assert result.out == "" and len(result.err.splitlines()) == 1
        assert result.err.startswith("Error: ") and says in result.err and result.err.rstrip()[-1] in ".?"
    else:
        assert "Usage: roco" in result.out + result.err


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        ("--modality", "MRI", "MR"),
        ("--modality", "computed tomography", "CT"),
        ("--body-part", "CHESTS", None),
        ("--modality", "ct", ""),
    ],
)
def test_a_word_for_a_modality_is_read_as_its_terms(
    roco: Roco, scans: Path, option: str, value: str, read: str | None
) -> None:
    roco("index", scans)
    result = roco("query", "x", option, value, "--json")
    if read is None:
        assert result.code == 1 and "No image of this library" in result.err
    elif read:
        assert result.err == f"Note: {option} {value} is read as {read}.\n"
        assert {hit["modality"] for hit in result.json} == {read}
    else:
        assert result.err == "" and {hit["modality"] for hit in result.json} == {"CT"}


def complete(line: str) -> list[str]:
    environment = {"_ROCO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    command = [sys.executable, "-m", "roco_search"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("roco query x --modality ", {"CT", "MR", "US"}),
        ("roco query x --modality ul", {"ultrasound"}),
        ("roco query x --body-part che", {"chest"}),
        ("roco query x --group-by ", {"series", "study", "file", "none"}),
        ("roco index --model roco", {"roco-mini"}),
        ("roco model pull med", {"medsiglip"}),
        ("roco help se", {"search"}),
    ],
)
def test_values_are_completed(line: str, offered: set[str]) -> None:
    assert offered <= {value.split("\t")[0] for value in complete(line)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-n", 0), "--top: 0 is less than 1, the least that it can be."),
        (("--min-score", 5), "--min-score: 5.0 is not between -1 and 1."),
    ],
)
def test_a_number_that_is_out_of_range_is_refused_in_words(
    roco: Roco, arguments: tuple[object, ...], said: str
) -> None:
    result = roco("query", "CT", *arguments)
    assert (result.code, result.err) == (2, f"Error: {said}\n")
