"""Plant canaries in every text of real files, run every command and page over them, and search every byte that comes.

    scripts/canary --count 60

Whatever a file says but the allow-list (manual: privacy) must not get out: not into the library, a cache, an export, a
card, a log, an answer of the demo or a message, sound file or damaged, plainly or packed. `--copy-to` alone copies the
files themselves.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import counting
import pydicom.data
from canaries import Planter, Search
from canary_desk import TERMS, agents, demo, teaching
from counting import ROOT, Proof

from roco_search.system.files import sha256

Run = Callable[..., tuple[int, bytes]]
"""Run ``roco`` with arguments; return its exit code, and what it wrote to both streams."""

LONGEST = 300.0  # seconds of one command, on a busy machine


def sources(limit: int, chance: random.Random) -> list[Path]:
    """Return real DICOM files: pydicom's own, and others where a checkout has them."""
    folders = [Path(pydicom.data.__file__).parent, ROOT / "shared" / "scans", Path(os.environ.get("ROCO_SCANS", "/-"))]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*")) if path.is_file()]
    dicom = [path for path in files if path.suffix.lower() not in {".py", ".pyc", ".json", ".txt", ".png", ".jpg"}]
    chance.shuffle(dicom)
    return dicom[:limit]


def plant(planter: Planter, files: Sequence[Path], folder: Path, chance: random.Random) -> tuple[int, int]:
    """Write sound and damaged files with canaries into two folders; return how many of each."""
    sound, damaged = folder / "scans", folder / "damaged"
    damaged.mkdir(parents=True)
    planter.pictures(sound / "said")
    written = 0
    for number, source in enumerate(files):
        written += planter.dicom(source, sound / f"series{number % 9}" / f"{number:04}.dcm", number)
    whole = sorted(path for path in sound.rglob("*") if path.is_file())
    for number, path in enumerate(whole):
        content = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 10, 200))):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if chance.random() < 0.5:
            del content[chance.randrange(len(content)) :]
        (damaged / f"{number:04}{path.suffix}").write_bytes(content)
    return written, len(whole)


class Sandbox:
    """A home of its own for everything that `roco` writes; and what its commands printed, kept as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.said = folder / "said"
        self.copies = folder / "copies"  # where --copy-to puts the files themselves
        self.commands = 0
        self.hung: list[str] = []
        for path in (self.home, self.said, self.home / "tmp", self.home / "run"):
            path.mkdir(parents=True)
        names = {"HOME": "", "TMPDIR": "tmp", "XDG_RUNTIME_DIR": "run", "XDG_CACHE_HOME": "cache"}
        names |= {"XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state"}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ROCO_", "XDG_"))},
            **{name: str(self.home / place) for name, place in names.items()},
            # Everything that it may say is wanted: the place of an unexpected error, and every warning of a library.
            **{
                "ROCO_DEBUG": "1",
                "PYTHONWARNINGS": "always",
                "PYTHONPATH": str(ROOT),
                "COLUMNS": "200",
                "PYTHONFAULTHANDLER": "1",
            },
        }

    def run(self, *arguments: object, typed: bytes = b"") -> tuple[int, bytes]:
        """Run ``roco`` as a process, and type something into it."""
        command = [sys.executable, "-m", "roco_search", *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=self.home, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            out, err = process.communicate(typed, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # then it says where each of its threads is
            out, err = process.communicate()
            self.hung.append(f"roco {' '.join(map(str, arguments))}: it hung: {err.decode(errors='replace')[-6000:]}")
        self.keep(out + b"\n--\n" + err)
        return process.returncode, out + err

    def converse(self, arguments: Sequence[object], typed: bytes, answers: int) -> int:
        """Run ``roco``, type something into it, and end it after so many lines of answers; return how many came."""
        command = [sys.executable, "-m", "roco_search", *map(str, arguments)]
        pipe, both = subprocess.PIPE, subprocess.STDOUT
        process = subprocess.Popen(command, cwd=self.home, env=self.environment, stdin=pipe, stdout=pipe, stderr=both)
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(LONGEST, process.kill)
        timer.start()
        process.stdin.write(typed)
        process.stdin.flush()
        said: list[bytes] = []
        while sum(b'"jsonrpc"' in line for line in said) < answers and (line := process.stdout.readline()):
            said.append(line)
        process.stdin.close()
        said.append(process.stdout.read())
        process.wait()
        timer.cancel()
        self.keep(b"".join(said))
        return sum(b'"jsonrpc"' in line for line in said)

    def keep(self, said: bytes) -> None:
        """Keep what a command or a page said, for the search."""
        self.commands += 1
        (self.said / f"{self.commands:05}").write_bytes(said)

    @contextmanager
    def beside(self, *arguments: object, until: bytes) -> Iterator[re.Match[bytes]]:
        """Run ``roco`` for the time of a block, which begins when it has printed `until`; keep all that it says."""
        command = [sys.executable, "-m", "roco_search", *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=self.home, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        said: list[bytes] = []
        while not (found := re.search(until, b"".join(said))):
            line = process.stdout.readline()
            assert line, b"".join(said)
            said.append(line)
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            yield found
        finally:
            process.terminate()
            process.wait(60)
            reader.join(10)
            self.keep(b"".join(said))


def looking(run: Run, folder: Path, home: Path) -> None:
    """Run what a person does every day: sound files, damaged ones, and what is refused."""
    scans, damaged = folder / "scans", folder / "damaged"
    files = sorted(path for path in scans.rglob("*") if path.is_file())
    run("index", scans)
    run("index", damaged, "--json")
    for path in (files[0], next(damaged.glob("*.dcm")), next(damaged.glob("*.png"))):
        run("query", path, "--json", "-n", 5)
        run("classify", path, "--labels", "CT,MRI", "--json")
    for term, form in zip(TERMS, ("--json", "--jsonl", "--csv", "--paths", "--explain"), strict=True):
        run("query", term, form, "-n", 1000, "--no-fold", "--group-by", "none")
    run("status"), run("status", "--json")
    run("export", home / "rows.jsonl")


def commands(run: Run, folder: Path, home: Path) -> None:
    """Run the other commands that look at a library."""
    scans = folder / "scans"
    files = sorted(path for path in scans.rglob("*") if path.is_file())
    run("index", "--retry-failed", "--rehash"), run("index", scans, "--frames", "all")
    run("query", "CT", "--html", home / "hits.html", "-n", 20)
    run("query", "CT", "--copy-to", folder / "copies", "-n", 3)
    run("query", "CT", "--modality", "nonsense", "--text-match", '"a b"')
    run("doctor", "--json"), run("similar", files[0], "--json"), run("duplicates", "--json"), run("outliers", "--json")
    run("export", home / "rows.parquet"), run("export", home / "vectors.npy")
    run("map", "--out", home / "map.html", "--method", "pca", "--guess")
    run("cohort", "save", "some", "--path", "*"), run("cohort", "show", "some", "--json"), run("cohort", "list")
    run("cohort", "diff", "some"), run("cohort", "export", "some", home / "shared", "--deidentify")
    run("library", "verify"), run("library", "list"), run("library", "remove", files[-1].parent)
    run("library", "vacuum"), run("index", scans, "--quiet")
    for number in range(2):
        run("index", "--shard", f"{number}/2", "--parts", home / "parts", scans, folder / "damaged")
    run("library", "merge", home / "parts", "--library", home / "merged")
    run("library", "copy", home / "merged", home / "copied")


def write_pairs(table: Path, files: Sequence[Path]) -> Path:
    """Write a table of captions and labels that are nobody's secret."""
    rows = [f"{path},a scan of kind {'AB'[n % 2]},{('CT', 'MR')[n % 2]}" for n, path in enumerate(files)]
    table.write_text("\n".join(["path,caption,label", *rows]) + "\n")
    return table


def learning(run: Run, folder: Path, home: Path) -> None:
    """Classify with a truth, train, evaluate and pack a model, on the same files."""
    rows = [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]
    read = sorted({Path(row["path"]) for row in rows if row["path"].endswith(".dcm")})
    table = write_pairs(folder / "pairs.csv", [path for path in read if "damaged" not in path.parts][:40])
    from tests.models.checkpoints import clip

    base, tuned = clip(folder / "clip"), home / "tuned"
    truth = ("--truth", table, "--truth-column", "label", "--labels", "CT,MR")
    run("classify", *truth, "--save-thresholds", home / "thresholds.json", "--json")
    run("classify", read[0], "--labels", "CT,MRI", "--explain", "--explain-dir", home / "heat")
    sizes = ("--batch-size", 4, "--micro-batch", 2, "--max-steps", 4)
    training = ("--base", base, "--output", tuned, *sizes)
    run("train", table, *training, "--dry-run")
    run("train", table, *training, "--tensorboard", "--keep-checkpoints", "--checkpoint-every", 2)
    run("eval", table, "--model", tuned, "--split", "train", "--report", home / "report.html")
    run("eval", table, "--model", tuned, "--split", "train", "--classify", "label", "--json")
    run("model", "export", tuned, home / "tuned.tar"), run("model", "import", home / "tuned.tar", "--name", "packed")
    run("model", "info", tuned), run("model", "list", "--json")
    run("index", folder / "scans", "--model", tuned, "--library", home / "second")
    run("index", "--model", "roco-mini", "--reembed", "--library", home / "second")
    run("demo", "--export-space", home / "space")
    damaged = write_pairs(folder / "damaged.csv", sorted((folder / "damaged").glob("*.dcm"))[:40])
    run("train", damaged, "--base", base, "--output", home / "not-tuned", *sizes)
    run("eval", damaged, "--model", base, "--split", "train")


def warm(sandbox: Sandbox, folder: Path) -> None:
    """Ask a warm process, and let it refuse."""
    with sandbox.beside("serve", until=rb"Serving"):
        for term in (*TERMS, str(next((folder / "damaged").iterdir())), str(folder / "no such file.dcm")):
            sandbox.run("query", term, "--json")


def search(proof: Proof, search_in: Search, folders: Sequence[Path]) -> None:
    """Look into every byte of every file, and at their names.

    Of equal files one is enough; what equals a file of the checkout, such as the embedded model in a Space, was there
    before anything was planted.
    """
    seen = {sha256(path) for path in (ROOT / "roco_search").rglob("*") if path.is_file()}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            where = str(path.relative_to(proof.folder))
            known = (digest := sha256(path)) in seen
            seen.add(digest)
            data = b"" if known else path.read_bytes()
            proof.counts["files searched"] += 1
            proof.counts["MB searched"] += len(data)
            for found in [*search_in.found(os.fsencode(where), "a name"), *search_in.found(data, where)]:
                proof.fail(found)


def prove(proof: Proof) -> None:
    """Do all of it."""
    chance = random.Random(proof.seed)
    planter = Planter()
    folder = proof.folder
    sound, damaged = plant(planter, sources(proof.count, chance), folder, chance)
    proof.counts |= {"canaries": planter.planted, "DICOM files": sound, "damaged copies": damaged}
    sandbox = Sandbox(folder)
    parts: tuple[Callable[[], object], ...] = (
        *(partial(part, sandbox.run, folder, sandbox.home) for part in (looking, commands, learning)),
        partial(teaching, sandbox, folder),
        partial(warm, sandbox, folder),
        lambda: proof.counts.update({"requests to agents' doors": agents(sandbox, folder)}),
        lambda: proof.counts.update({"requests to the demo": demo(sandbox, folder, 6)}),
    )
    for part in parts:
        part()
        print(f"{time.monotonic() - proof.started:.0f} s, {sandbox.commands} answers", file=sys.stderr, flush=True)
    proof.counts["commands and answers"] = sandbox.commands
    proof.failures += sandbox.hung
    find = Search(planter.digests)
    for path in (path for path in (folder / "scans").rglob("*") if path.is_file()):
        assert next(find.found(path.read_bytes(), ""), None), f"the search does not see the canaries in {path}"
    search(proof, find, [sandbox.home, sandbox.said])
    proof.counts["MB searched"] //= 10**6
    said = b"".join(path.read_bytes() for path in sorted(sandbox.said.iterdir()))
    proof.counts["canaries found"] = sum("a canary" in failure for failure in proof.failures)
    proof.counts["tracebacks"] = said.count(b"Traceback (most recent call last)")
    if proof.counts["tracebacks"]:
        proof.fail("a traceback was printed")


if __name__ == "__main__":
    counting.run("canary", __doc__, 60, "DICOM files", prove)
