"""The process behind `pickles`: reads one file of weights, writes one of safetensors, says one line of JSON."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pickletools
import platform
import re
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from roco_search.models.checkpoint import ELEMENT_BYTES
from roco_search.models.open_clip.weights import write

_INSIDE = ("state_dict", "model", "model_state_dict")
_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32",
          "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}  # fmt: skip
_MARGIN = 2**30  # Bytes of memory above twice the file's size.
_MOST = 100_000  # tensors
_GLOBAL = re.compile(r"(?:GLOBAL|Unsupported class|Unsupported global:|global) ([\w.]+\.\w+)")

# Events of Python's audit hook that end the reading: https://docs.python.org/3/library/audit_events.html
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill",
              "pty.", "ctypes.", "shutil.", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
              "os.chmod", "os.chown", "os.putenv", "webbrowser.", "urllib.", "http.", "ftplib.")  # fmt: skip

# The same below Python, on Linux: system calls by their numbers (linux/arch/*/entry/syscalls). socket, socketpair,
# connect, bind, listen, accept, sendto, sendmsg; execve, execveat, ptrace, process_vm_writev; io_uring_setup.
_CALLS = {
    "x86_64": (0xC000003E, 317, (41, 53, 42, 49, 50, 43, 288, 44, 46, 307, 59, 322, 57, 58, 101, 311, 425)),
    "aarch64": (0xC00000B7, 277, (198, 199, 203, 200, 201, 202, 242, 206, 211, 269, 221, 281, 117, 271, 425)),
}


class _Refused(Exception):
    def __init__(self, kind: str, name: str = "") -> None:
        super().__init__(kind)
        self.kind, self.name = kind, name


def main() -> None:
    """Convert the file of the second argument into that of the third."""
    source, target = Path(sys.argv[2]), Path(sys.argv[3])
    import numpy  # noqa: F401 - everything is imported before the doors are shut
    import torch

    size = source.stat().st_size
    _shut_doors(target, size)
    try:
        _convert(source, target, size, torch)
        answer: dict[str, Any] = {"written": True}
    except _Refused as refused:
        answer = {"refused": refused.kind, "name": refused.name}
    except MemoryError:
        answer = {"refused": "memory"}
    except OSError as error:
        answer = {"refused": "forbidden"} if error.errno == errno.EPERM else {"errno": error.errno or errno.EIO}
    except BaseException:
        answer = {"refused": "damaged"}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # what a file left behind for the end of the process is not run


def _convert(source: Path, target: Path, size: int, torch: Any) -> None:
    _check_archive(source, size)
    tensors = _tensors(_load(source, torch), torch, size)
    entries = [(name, _TYPES[str(t.dtype).removeprefix("torch.")], tuple(t.shape)) for name, t in tensors.items()]
    write(target, entries, _contents(tensors, torch))


def _check_archive(source: Path, size: int) -> None:
    """Refuse an archive that torch would not have written, before torch reads it."""
    if not zipfile.is_zipfile(source):
        return
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        raise _Refused("damaged") from None
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise _Refused("script")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise _Refused("compressed")
    if sum(member.file_size for member in members) > size:
        raise _Refused("memory")


def _load(source: Path, torch: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))
        except (MemoryError, PermissionError):
            raise
        except Exception as error:  # torch raises pickle's, zip's and its own errors, and RuntimeError for all else
            text = str(error)
            if "allocate memory" in text or "Cannot allocate" in text:
                raise _Refused("memory") from None
            # The message quotes the file, so no more of it than a dotted name is passed on.
            if name := _GLOBAL.search(text):
                raise _Refused("global", name[1]) from None
            if wanted := next(_globals(source), None):
                raise _Refused("global", wanted) from None
            raise _Refused("damaged") from None


def _globals(source: Path) -> Iterator[str]:
    """Yield what a bare pickle asks for besides torch's own, without running it; torch names only those it reaches."""
    words: list[str] = []
    with source.open("rb") as file, suppress(Exception):  # pickletools raises anything on what is no pickle
        for operation, argument, _ in pickletools.genops(file):
            if operation.name in ("GLOBAL", "INST"):
                words = str(argument).split(" ")
            elif isinstance(argument, str):
                words = [*words[-1:], argument]
            if operation.name in ("GLOBAL", "INST", "STACK_GLOBAL") and len(words) == 2:
                name = ".".join(words)
                if not name.startswith("torch.") and name != "collections.OrderedDict":
                    yield name


def _tensors(loaded: Any, torch: Any, size: int) -> dict[str, Any]:
    """Return the tensors of a file that holds nothing else where its weights are."""
    inside = next((loaded[key] for key in _INSIDE if isinstance(loaded, Mapping) and key in loaded), loaded)
    if not isinstance(inside, Mapping) or not inside:
        raise _Refused("empty")
    total = 0
    for name, value in inside.items():
        if not isinstance(name, str) or len(name) > 300 or len(inside) > _MOST:
            raise _Refused("value", "names that are none of weights")
        if not isinstance(value, torch.Tensor):
            raise _Refused("value", f"{type(value).__name__} {name!r} where a tensor belongs")
        kind = _TYPES.get(str(value.dtype).removeprefix("torch."))
        if kind is None or value.layout is not torch.strided or value.is_quantized:
            raise _Refused("value", f"{name!r} of the type {str(value.dtype).removeprefix('torch.')}")
        total += ELEMENT_BYTES[kind] * value.numel()
    if total > 2 * size:  # weights that are tied are stored once
        raise _Refused("memory")
    ordered = sorted(inside.items(), key=lambda entry: -entry[1].element_size())
    return dict(ordered)


def _contents(tensors: Mapping[str, Any], torch: Any) -> Iterator[memoryview]:
    for tensor in tensors.values():
        plain = tensor.detach().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().data if plain.numel() else memoryview(b"")


def _shut_doors(target: Path, size: int) -> None:
    """Give up the network, other programs, other files, and all memory but what a file of this size needs."""
    with suppress(ImportError, ValueError, OSError):  # there is no such limit on every system
        import resource

        taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        room = taken + 2 * size + _MARGIN
        for limit, value in (
            (resource.RLIMIT_AS, room),
            (resource.RLIMIT_FSIZE, 2 * size + 2**24),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(limit)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (most, most))
    with suppress(OSError, AttributeError):
        _filter_calls()
    own = str(target)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(c in mode for c in "wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
            if writes and str(path) != own:
                raise PermissionError(errno.EPERM, event)
        elif event.startswith(_FORBIDDEN):
            raise PermissionError(errno.EPERM, event)

    sys.addaudithook(watch)


def _filter_calls() -> None:
    """Have the kernel refuse connections and programs in every thread of this process (seccomp(2))."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return
    machine, number, calls = _CALLS[platform.machine()]
    # Classic BPF over struct seccomp_data: the number is at offset 0, the architecture at 4.
    load, equal, least, give = 0x20, 0x15, 0x35, 0x06
    denied, allowed, killed = 0x00050000 | errno.EPERM, 0x7FFF0000, 0x80000000
    program = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, killed), (load, 0, 0, 0)]
    rest = len(calls)
    if platform.machine() == "x86_64":  # the numbers of the x32 interface, which is another way to the same calls
        program.append((least, rest + 1, 0, 0x40000000))
    program += [(equal, rest - at, 0, call) for at, call in enumerate(calls)]
    program += [(give, 0, 0, allowed), (give, 0, 0, denied)]
    code = b"".join(struct.pack("<HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    filtered = Program(len(program), ctypes.cast(held, ctypes.c_void_p))
    library = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, all_threads = 38, 1, 1
    library.prctl(no_new_privileges, 1, 0, 0, 0)
    if library.syscall(number, set_filter, all_threads, ctypes.byref(filtered)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
