"""Where the socket of a library's warm process lies, and whether it can be trusted."""

import hashlib
import os
import stat

from roco_search.folders import cache_folder

TELLING = ("ROCO_LIBRARY", "ROCO_MODEL", "ROCO_MODELS", "ROCO_CONFIG", "ROCO_CACHE", "ROCO_DEBUG")
"""Variables that change what a query answers; a process with others is not asked."""


# Paths are text here, not `pathlib`'s, which would be a third of what a client imports.


def socket_folder() -> str:
    """Return the folder of the sockets: in the user's runtime folder, else in the cache."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(runtime, "roco")  # noqa: PTH118
    return f"{cache_folder()}/serve"


def socket_of(library: str) -> str:
    """Return the socket for a library, by its real path. A socket's path has room for about a hundred bytes."""
    name = hashlib.sha256(os.fsencode(library)).hexdigest()[:20]
    return f"{socket_folder()}/{name}.sock"


def is_private(path: str) -> bool:
    """Whether a socket and its folder are this user's and nobody else can reach them."""
    try:
        folder, own = os.lstat(os.path.dirname(path)), os.lstat(path)  # noqa: PTH120
    except OSError:
        return False
    mine = {folder.st_uid, own.st_uid} == {os.geteuid()}
    return mine and stat.S_ISSOCK(own.st_mode) and stat.S_ISDIR(folder.st_mode) and not folder.st_mode & 0o077


def circumstances() -> dict[str, str | None]:
    """Return what has to be the same for client and server."""
    return {name: os.environ.get(name) for name in TELLING if name != "ROCO_LIBRARY"}
