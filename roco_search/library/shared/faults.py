"""What LanceDB and the storage of a shared library refuse, as an error of roco with its remedy.

What LanceDB raises quotes addresses, rows and requests; nothing of that is printed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from roco_search.errors import LibraryError, LibraryNotFound, LibraryUnreachable, RocoError
from roco_search.system.files import storage_full

_UNREACHABLE = (
    "connect error", "dns error", "kind: connect", "timed out", "timeout", "connection refused", "connection reset",
    "status: 500", "status: 502", "status: 503", "status: 504", "kind: request", "incompletemessage", "kind: body",
)  # fmt: skip
_REFUSED = (
    "accessdenied", "invalidaccesskeyid", "signaturedoesnotmatch", "status: 401", "status: 403",
    "unauthenticated", "permissiondenied", "invalidtoken", "expiredtoken", "forbidden",
)  # fmt: skip


@contextmanager
def shared_faults(address: str, *, writing: bool = False) -> Iterator[None]:
    """Turn whatever is raised while a shared library is read, or written to, into an error of roco.

    Raises
    ------
    LibraryUnreachable
        If that may pass: no network, no server, a share that is not mounted.
    StorageFull, LibraryError
    """
    try:
        yield
    except RocoError:
        raise
    except (OSError, ValueError, RuntimeError, TypeError, LookupError) as error:
        raise _explained(error, address, writing) from None


def _explained(error: Exception, address: str, writing: bool) -> RocoError:
    text = str(error).lower()
    if "nosuchbucket" in text:
        bucket = address.partition("://")[2].partition("/")[0]
        return LibraryError(f"There is no bucket {bucket} for the library {address}; create it, or check the address.")
    if "badscheme" in text:
        return LibraryError(
            f"The server of {address} is addressed over http, unencrypted; set AWS_ENDPOINT_URL to its https address, "
            "or AWS_ALLOW_HTTP=true where that is safe."
        )
    if "failed to get aws credentials" in text:
        return LibraryError(
            f"There are no credentials for the shared library {address}; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
        )
    if any(word in text for word in _REFUSED) or "os error 13" in text or "os error 30" in text:
        remedy = "change the folder's permissions" if "file://" in address else (
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and what they allow"
        )  # fmt: skip
        what = "may not be written to" if writing else "refuses to be read"
        return LibraryError(f"The shared library {address} {what} by you; {remedy}.")
    if any(word in text for word in ("os error 28", "os error 122", "no space left", "disk quota")):
        return storage_full(f"the shared library {address}", "Your copy keeps what was indexed.")
    if any(word in text for word in _UNREACHABLE):
        return unreachable(address)
    return LibraryError(
        f"The shared library {address} could not be used; try again, then check the storage, and run `roco library "
        "verify`."
    )


def unreachable(address: str) -> LibraryUnreachable:
    """Return the refusal where a shared library cannot be reached."""
    remedy = "check that the share is mounted" if "file://" in address else "check the network and AWS_ENDPOINT_URL"
    return LibraryUnreachable(f"The shared library {address} can't be reached; {remedy}.")


def absent(address: str, *, pulled: bool) -> LibraryError:
    """Return the refusal where there is no table: it is new, or was there when something was `pulled`."""
    if pulled:
        return LibraryUnreachable(f"The shared library {address} is not there now; check the address.")
    return LibraryNotFound(
        f"There is no library at {address} yet; create one with `roco index PATH --library {address}`."
    )


def missing_table(folder: str, name: str) -> bool:
    """Whether a folder on a share holds no table of a name.

    Raises
    ------
    LibraryUnreachable
        If not even the folder is there that it should be in: the share is not mounted.
    """
    if not os.path.isdir(os.path.dirname(folder)):  # noqa: PTH112, PTH120
        raise unreachable(f"lance+file://{folder}")
    return not os.path.isdir(f"{folder}/{name}.lance/_versions")  # noqa: PTH112
