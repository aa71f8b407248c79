"""Break off every command that writes, in every way that a system can, and see that nothing is ever lost or wrong.

    scripts/torture --count 600

kill -9 at a random moment and at a chosen system call, EIO and ENOSPC at one call or from one on, half-done writes, a
read-only folder, a full disk (tmpfs), a clock that steps back, several processes at once. Before the next run: the
database is whole, every vector is computed anew from its picture and compared, a search finds what a look at every
vector finds. Then the same command runs again, undisturbed: it must complete, leave nothing half-made, and end with
what it would have ended with had nothing happened.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import counting
from counting import Proof

from roco_search.errors import Busy, LibraryNotFound, RocoError

if TYPE_CHECKING:  # what the world is made of is imported once the shim is there
    import numpy as np
    import numpy.typing as npt
    from worlds import Vectors, Work

SHIM = Path(__file__).with_name("shim.c")
NOTHING, COUNT, KILL_BEFORE, KILL_AFTER, FAIL, SHORT, CLOCK = range(7)
WRITES, READS, NAMES = 1, 2, 4
LONGEST = 60.0  # seconds of one command, on a busy machine
REFUSED, ESCAPED, BUSY = 3, 4, 5


class Shim:
    """The preloaded library: see shim.c."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.torture_calls.restype = ctypes.c_long

    def arm(
        self, what: int, when: int, folder: Path, kinds: int, failure: int = 0, lasting: bool = False, back: int = 0
    ) -> None:
        number = ctypes.c_long(when), ctypes.c_int(failure), ctypes.c_int(lasting), ctypes.c_int(kinds)
        self._library.torture_arm(ctypes.c_int(what), *number, os.fsencode(folder), ctypes.c_long(back))

    def calls(self) -> int:
        return int(self._library.torture_calls())


def in_child(task: Callable[[], None], said: Path) -> int:
    """Fork a process that does something; return its number."""
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        task()
    except Busy:
        code = BUSY
    except RocoError as error:
        code = REFUSED
        with suppress(OSError):
            said.write_text(str(error))
    except BaseException:
        code = ESCAPED
        with suppress(OSError):
            said.write_text(traceback.format_exc())
    os._exit(code)


def ended(child: int) -> int:
    """Wait for a process; return its exit code, or minus the signal that ended it. One that hangs is killed: -14."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -14


class Torture:
    """Faults of one command in its world."""

    def __init__(self, proof: Proof, work: Work, vectors: Vectors, folder: Path, shim: Shim) -> None:
        self.proof, self.work, self.vectors, self.shim = proof, work, vectors, shim
        self.before, self.after, self.world = folder / "before", folder / "after", folder / "world"
        self.said = folder / "said"
        self.before.mkdir(parents=True)
        in_order(lambda: work.prepare(self.before), self.said)
        shutil.copytree(self.before, self.after)
        self.fresh()
        # What it is undisturbed, how long that takes, and how many calls it makes.
        started = time.monotonic()
        in_order(lambda: work.run(self.world), self.said)
        self.seconds = time.monotonic() - started
        shutil.rmtree(self.after)
        shutil.copytree(self.world, self.after, symlinks=True)
        self.calls = {kinds: self._counted(kinds) for kinds in (WRITES, READS, NAMES, WRITES | NAMES)}

    def _counted(self, kinds: int) -> int:
        self.fresh()
        count = self.said.with_name("count")

        def task() -> None:
            self.shim.arm(COUNT, 0, self.world, kinds)
            self.work.run(self.world)
            count.write_text(str(self.shim.calls()))

        in_order(task, self.said)
        return int(count.read_text())

    def fresh(self) -> None:
        """Make the world anew, as it is before the command."""
        if os.path.ismount(self.world):
            subprocess.run(["umount", str(self.world)], check=True)
        shutil.rmtree(self.world, ignore_errors=True)
        shutil.copytree(self.before, self.world)

    def fault(self, kind: str, chance: random.Random) -> None:
        """Disturb the command once in some way, and check what becomes of it."""
        self.fresh()
        self.said.unlink(missing_ok=True)
        about = f"{self.work.name}: {kind}"
        mounted = False
        match kind:
            case "kill -9 by the clock":
                child = in_child(lambda: self.work.run(self.world), self.said)
                time.sleep(chance.uniform(0, self.seconds))
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            case "kill -9 at a call":
                what = chance.choice((KILL_BEFORE, KILL_AFTER))
                child, about = self._at(what, WRITES | NAMES, chance, about)
            case "EIO" | "ENOSPC" | "EDQUOT":
                kinds = chance.choice((WRITES, NAMES, WRITES | NAMES) if kind != "EIO" else (WRITES, READS, NAMES))
                number = getattr(errno, kind)
                child, about = self._at(FAIL, kinds, chance, about, failure=number, lasting=chance.random() < 0.6)
            case "half a write":
                child, about = self._at(SHORT, WRITES, chance, about)
            case "read-only":
                child, about = self._at(FAIL, NAMES, chance, about, failure=errno.EROFS, lasting=True)
            case "a clock that steps back":
                child, about = self._at(CLOCK, NAMES, chance, about, back=chance.choice((1, 3600, 400 * 86400)))
            case "several processes":
                child = self._crowd(chance)
            case _:
                mounted = mount(self.world, self.before, chance)
                child = in_child(lambda: self.work.run(self.world), self.said)
        code = ended(child)
        self.proof.counts["faults"] += 1
        outcome = {0: "completed", REFUSED: "refused", BUSY: "refused", -9: "killed"}.get(code)
        said = self.said.read_text() if self.said.exists() else ""
        if outcome is None:
            self.proof.counts["escaped"] += 1
            self.proof.fail(f"{about}: {'it hung' if code == -14 else code}: {said[-900:]}")
        else:
            self.proof.counts[outcome] += 1
        if "\n" in said and code == REFUSED:
            self.proof.fail(f"{about}: no one sentence: {said}")
        try:
            self.check(about, mounted)
        except AssertionError as error:
            self.proof.counts["lost or wrong"] += 1
            self.proof.fail(f"{about} ({outcome}): {str(error)[:600] or traceback.format_exc()[-900:]}")
        except Exception:
            self.proof.counts["lost or wrong"] += 1
            self.proof.fail(f"{about} ({outcome}): {traceback.format_exc()[-900:]}")

    def _at(
        self, what: int, kinds: int, chance: random.Random, about: str, *, failure: int = 0, lasting: bool = False,
        back: int = 0,
    ) -> tuple[int, str]:  # fmt: skip
        when = chance.randint(1, max(1, self.calls[kinds]))

        def task() -> None:
            self.shim.arm(what, when, self.world, kinds, failure, lasting, back)
            self.work.run(self.world)

        return in_child(
            task, self.said
        ), f"{about} {'from' if lasting else 'at'} call {when} of {self.calls[kinds]} ({kinds})"

    def _crowd(self, chance: random.Random) -> int:
        """Run the command in two processes at once, one of which is killed at times, while two others search."""

        def look() -> None:
            from roco_search.library import Library

            for _ in range(6):
                for place in self.work.libraries:
                    with suppress(LibraryNotFound), Library.open(self.world / place) as library:
                        if library.model is not None and library.model.count:
                            library.search(any_query(library.model.dim), 3)

        readers = [in_child(look, self.said.with_name(f"reader{n}")) for n in range(2)] if self.work.libraries else []
        writers = [in_child(lambda: self.work.run(self.world), self.said) for _ in range(2)]
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, self.seconds))
            with suppress(ProcessLookupError):
                os.kill(writers[0], signal.SIGKILL)
        codes = [ended(child) for child in readers]
        if any(code not in {0} for code in codes):
            told = [path.read_text() for path in self.said.parent.glob("reader?") if path.exists()]
            self.proof.counts["lost or wrong"] += 1
            self.proof.fail(f"{self.work.name}: a reader was disturbed: {codes} {told}"[:900])
        if (code := ended(writers[0])) not in {0, REFUSED, BUSY, -9}:
            self.proof.fail(f"{self.work.name}: a writer of two: {code}: {self.said.read_text()[-700:]}")
        return writers[1]

    def check(self, about: str, mounted: bool) -> None:
        """Check what must be true at any time; then run the command again, and compare."""
        from worlds import check_library, leftovers

        places = [self.world / name for name in self.work.libraries if (self.world / name / "library.db").exists()]
        if mounted:
            enlarge(self.world)
        for place in places:
            counted = in_order_with(partial(check_library, place, self.vectors), self.said)
            self.proof.counts["vectors recomputed"] += counted
        done = in_child(lambda: self.work.run(self.world), self.said)
        code = ended(done)
        if code != 0:
            said = self.said.read_text() if self.said.exists() else ""
            # It may have been complete before it was broken off; then there is nothing to do again.
            assert code == REFUSED, f"the next run ended with {code}: {said[-700:]}"
            try:
                self.work.same(self.after, self.world)
            except (AssertionError, OSError) as error:
                raise AssertionError(f"the next run refused: {said}; and it is not complete: {error}") from None
        self.work.same(self.after, self.world)
        for name in self.work.libraries:
            if (self.world / name / "library.db").exists():
                counted = in_order_with(partial(check_library, self.world / name, self.vectors), self.said)
                self.proof.counts["vectors recomputed"] += counted
        assert not (left := leftovers(self.world)), f"left half-made: {left}"


def any_query(dim: int) -> npt.NDArray[np.float32]:
    import numpy as np

    return np.full((1, dim), dim**-0.5, np.float32)


def in_order(task: Callable[[], object], said: Path) -> None:
    """Do something in a process of its own, so that this one keeps nothing open; it must succeed."""
    code = ended(in_child(lambda: (task(), None)[1], said))
    if code:
        raise AssertionError(f"{code}: {said.read_text()[-900:] if said.exists() else ''}")


def in_order_with(task: Callable[[], int], said: Path) -> int:
    """As `in_order`; return the number that the task returns."""
    answer = said.with_name("answer")

    def tell() -> None:
        try:
            answer.write_text(str(task()))
        except AssertionError as error:
            answer.write_text(f"!{error or traceback.format_exc()}")

    in_order(tell, said)
    told = answer.read_text()
    if told.startswith("!"):
        raise AssertionError(told[1:])
    return int(told)


def mount(world: Path, before: Path, chance: random.Random) -> bool:
    """Put the world on a small disk that will fill up; False where only root may do that, and it is not full then."""
    shutil.rmtree(world)
    world.mkdir()
    used = sum(path.stat().st_size + 4096 for path in before.rglob("*"))
    size = (used // 4096 + chance.randint(4, 120)) * 4
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}k,mode=700", "tmpfs", str(world)], capture_output=True, check=False
    )
    shutil.copytree(before, world, dirs_exist_ok=True)
    return done.returncode == 0


def enlarge(world: Path) -> None:
    """Free some space: the same disk, larger."""
    subprocess.run(["mount", "-o", "remount,size=512m", str(world)], check=True)


KINDS = {
    "kill -9 by the clock": 5,
    "kill -9 at a call": 8,
    "EIO": 5,
    "ENOSPC": 3,
    "EDQUOT": 1,
    "half a write": 1,
    "read-only": 2,
    "a clock that steps back": 1,
    "several processes": 2,
    "a full disk": 4,
}


def prove(proof: Proof) -> None:
    """Torture every command in turn."""
    from kept import kept_works
    from worlds import Pictures, library_works, model_works, shared_works

    chance = random.Random(proof.seed)
    shim = Shim()
    pictures = Pictures(proof.folder / "pictures", proof.sizes.get("pictures", 40))
    works = [*library_works(pictures), *kept_works(pictures)]
    # To prepare a command takes as long as five faults of it.
    works = (
        [*works, *shared_works(pictures), *model_works(proof.folder)] if proof.count >= 100 else chance.sample(works, 4)
    )
    proof.counts["faults"] = 0
    tortures = []
    for number, work in enumerate(works):
        tortures.append(Torture(proof, work, pictures.vectors, proof.folder / f"world{number:02}", shim))
    try:
        for number in range(proof.count):
            if proof.over:
                break
            one = tortures[number % len(tortures)]
            if one.work.name == "train" and number >= 30 * len(tortures):  # seconds each
                one = tortures[chance.randrange(len(tortures) - 1)]
            one.fault(chance.choices(list(KINDS), list(KINDS.values()))[0], chance)
    finally:
        for one in tortures:
            if os.path.ismount(one.world):
                subprocess.run(["umount", str(one.world)], check=False)
    proof.counts |= {"commands": len(tortures)}
    for name in ("lost or wrong", "escaped"):
        proof.counts[name] += 0


def compiled(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


if __name__ == "__main__":
    if "TORTURE" not in os.environ:
        with tempfile.TemporaryDirectory() as place:
            single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            preloaded = {**os.environ, **single, "LD_PRELOAD": str(compiled(Path(place))), "TORTURE": "1"}
            raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=preloaded, check=False).returncode)
    counting.run("torture", __doc__, 600, "faults", prove, pictures=40)
