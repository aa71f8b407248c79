"""Read mutated files of every kind: nothing may come out but pictures and refusals, within 10 s and 1 GB each.

    scripts/fuzz --inputs 50000 --seed 1

A child process reads them one after the other and says how each went; when it dies, or takes too long, the input is to
blame, and another child goes on behind it. Inputs depend on the seed and their number alone: `--only NUMBER` repeats
one, and `--keep FOLDER` keeps those that failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS, BYTES = 10.0, 10**9
SPARE = 10.0  # Seconds beyond the limit until a child is ended: its own count is the one of a busy machine, too.
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=None, help="end after so many minutes at the latest")
    parser.add_argument("--json", type=Path, default=None, help="also write the summary to this file")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the inputs that failed")
    parser.add_argument("--only", type=int, default=None, help="read this one input alone")
    parser.add_argument("--child", nargs=2, type=int, metavar=("FIRST", "LAST"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.seed, *args.child)
        return
    first, last = (0, args.inputs) if args.only is None else (args.only, args.only + 1)
    summary = run(args.seed, first, last, args.minutes, args.keep)
    show(summary)
    if args.json:
        args.json.write_text(json.dumps(summary, indent=1) + "\n")
    if summary["failures"]:
        raise SystemExit(1)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Return a file with a few places changed, moved, cut off or doubled."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 10, 30))):
        if not data:
            break
        place = chance.randrange(len(data)) if chance.random() < 0.6 else chance.randrange(min(len(data), 600))
        match chance.randrange(8):
            case 0 | 1:
                data[place] ^= 1 << chance.randrange(8)
            case 2 | 3:
                data[place] = chance.randrange(256)
            case 4:
                size = chance.choice((1, 2, 4))
                value = chance.choice(INTERESTING) & (256**size - 1)
                data[place : place + size] = value.to_bytes(size, chance.choice(("little", "big")))
            case 5:
                del data[place : place + chance.choice((1, 2, 7, 100))]
            case 6:
                part = data[place : place + chance.choice((1, 4, 60))]
                data[place:place] = part * chance.choice((1, 2, 9))
            case _:
                if chance.random() < 0.2:
                    del data[place:]
    return bytes(data)


def made(names: list[str], corpus: dict[str, tuple[str, bytes]], seed: int, number: int) -> tuple[str, str, bytes]:
    """Return name, ending and content of an input."""
    name = names[number % len(names)]
    ending, content = corpus[name]
    return name, ending, mutate(content, random.Random(f"{seed}-{number}"))


def child(seed: int, first: int, last: int) -> None:
    """Read the inputs from `first` to `last`; write a line of JSON for each."""
    from corpus import corpus as files

    found = files()
    names = sorted(found)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryDirectory() as folder:
        # What a library says on either stream belongs to the outcome.
        noise = Path(folder) / "noise"
        descriptor = os.open(noise, os.O_RDWR | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        for number in range(first, last):
            name, ending, content = made(names, found, seed, number)
            path = Path(folder) / f"input{ending}"
            path.write_bytes(content)
            with_peak = reset_peak()
            started, used = time.monotonic(), time.process_time()
            outcome = read(path)
            result: dict[str, Any] = {"number": number, "name": name, "outcome": outcome}
            result |= {"seconds": time.monotonic() - started, "cpu": time.process_time() - used}
            result["bytes"] = peak() if with_peak else 0
            if noise.stat().st_size:
                result["said"] = noise.read_text(errors="replace")[:300]
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
            print(json.dumps(result), file=answers)


def read(path: Path) -> str:
    """Read a file, or the members of an archive; return how that went."""
    from itertools import islice

    from roco_search.errors import RocoError
    from roco_search.imaging import open_image, sniff
    from roco_search.imaging.archives import is_archive, listing

    outcome = "refused"
    try:
        members: list[str | Path] = (
            [f"{path}!/{name}" for name in listing(path).members] if is_archive(str(path)) else [path]
        )
        for member in islice(members, 8):
            try:
                if sniff(member) is None:
                    continue
                for frame in islice(open_image(member, frames="all"), 3):
                    assert frame.pixels.dtype.name == "uint8" and frame.pixels.ndim == 3
                    outcome = "picture"
            except RocoError as error:
                assert "; " in str(error) or "not a picture" in str(error) or "a DICOM object" in str(error), str(error)
    except RocoError:
        return "refused"
    except FileNotFoundError:
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    return outcome


def reset_peak() -> bool:
    """Let the system count this process's greatest memory anew; whether it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak() -> int:
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def run(seed: int, first: int, last: int, minutes: float | None, keep: Path | None) -> dict[str, Any]:
    """Have children read the inputs; return what came of it."""
    started = time.monotonic()
    outcomes, by_name, failures = Counter[str](), Counter[str](), list[dict[str, Any]]()
    slowest: dict[str, Any] = {"cpu": 0.0}
    largest: dict[str, Any] = {"bytes": 0}
    following = first
    while following < last and (minutes is None or time.monotonic() - started < 60 * minutes):
        process = start(seed, following, last)
        assert process.stdout is not None
        while following < last and (minutes is None or time.monotonic() - started < 60 * minutes):
            result = next_result(process)
            if result is None:
                process.kill()
                code = process.wait()
                how = "took too long" if code == -9 else f"ended the process with {code}"
                result = {"number": following, "name": "", "outcome": how, "seconds": 0.0, "cpu": 0.0, "bytes": 0}
                failures.append(result)
                following += 1
                break
            following = result["number"] + 1
            outcomes["failure" if failed(result) else result["outcome"]] += 1
            by_name[result["name"]] += 1
            if failed(result):
                failures.append(result)
            slowest = max(slowest, result, key=lambda one: one["cpu"])
            largest = max(largest, result, key=lambda one: one["bytes"])
            if sum(outcomes.values()) % 5000 == 0:
                print(f"{sum(outcomes.values()):,} inputs, {len(failures)} failures", file=sys.stderr, flush=True)
        process.kill()
        process.wait()
    if keep is not None and failures:
        keep_failures(seed, failures, keep)
    return {
        "seed": seed,
        "inputs": following - first,
        "kinds": len(by_name),
        "outcomes": dict(outcomes),
        "failures": failures,
        "slowest": slowest,
        "largest": largest,
        "seconds": time.monotonic() - started,
    }


def start(seed: int, first: int, last: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--seed", str(seed), "--child", str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent)


def next_result(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Return the next line of a child; None if it has died, or takes too long."""
    assert process.stdout is not None
    # The first one pays for the imports and the corpus.
    ready, _, _ = select.select([process.stdout], [], [], 120.0 if not hasattr(process, "began") else SECONDS + SPARE)
    line = process.stdout.readline() if ready else b""
    process.began = True  # type: ignore[attr-defined]
    found: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    return found


def failed(result: dict[str, Any]) -> bool:
    """Whether an input did anything but become a picture or be refused, within the limits and in silence."""
    well = result["outcome"] in {"picture", "refused"} and "said" not in result
    return not well or result["cpu"] > SECONDS or result["bytes"] > BYTES


def keep_failures(seed: int, failures: list[dict[str, Any]], folder: Path) -> None:
    from corpus import corpus as files

    found = files()
    folder.mkdir(parents=True, exist_ok=True)
    for failure in failures:
        name, ending, content = made(sorted(found), found, seed, failure["number"])
        (folder / f"{failure['number']:06}-{name.replace(' ', '-')}{ending}").write_bytes(content)


def show(summary: dict[str, Any]) -> None:
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(summary["outcomes"].items()))
    print(f"{summary['inputs']:,} inputs of {summary['kinds']} kinds in {summary['seconds']:.0f} s: {counts}")
    print(f"slowest: {summary['slowest']['cpu']:.2f} s of a processor ({summary['slowest'].get('name')})")
    print(f"largest: {summary['largest']['bytes'] / 2**20:.0f} MiB ({summary['largest'].get('name')})")
    for failure in summary["failures"]:
        print(f"FAILED {failure['number']} {failure['name']}: {failure['outcome']} {failure.get('said', '')}")


if __name__ == "__main__":
    main()
