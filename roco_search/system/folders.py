"""Where a user's libraries, models, settings and cache are, as text: a warm query has no time to load ``pathlib``."""

import os
import sys

# Kind: the variable that names the place, and where it is without one (XDG Base Directory Specification 0.8).
_XDG = {
    "data": ("XDG_DATA_HOME", "~/.local/share"),
    "cache": ("XDG_CACHE_HOME", "~/.cache"),
    "config": ("XDG_CONFIG_HOME", "~/.config"),
}


SHARED = "lance+"
"""What the address of a shared library begins with."""
ORIGIN = "origin.json"
"""The file in a library's folder that notes of which shared library it is a copy."""


def user_folder(kind: str) -> str:
    """Return the user's folder for roco's "data", "cache" or "config", whether it is there or not.

    It is platformdirs' own answer; on Linux, where that is a rule of one line, without loading it.
    """
    if sys.platform == "linux":
        variable, usual = _XDG[kind]
        return f"{os.environ.get(variable, '').strip() or os.path.expanduser(usual)}/roco"  # noqa: PTH111
    import platformdirs

    ask = {
        "data": platformdirs.user_data_dir,
        "cache": platformdirs.user_cache_dir,
        "config": platformdirs.user_config_dir,
    }
    return ask[kind]("roco")


def library_folder() -> str:
    """Return where the library is unless a command names another path: ``ROCO_LIBRARY``, or the user's data folder."""
    if configured := os.environ.get("ROCO_LIBRARY"):
        return library_place(os.path.expanduser(configured))  # noqa: PTH111
    return f"{user_folder('data')}/library"


def library_place(text: str) -> str:
    """Return the folder of a library that a person named: itself, or this user's copy of a shared one by its address.

    A copy is in the user's data folder, private to its owner, and notes in `ORIGIN` of which shared library it is. That
    is made here if need be, so that everything else has only to do with folders.

    Raises
    ------
    InputError
        If it begins as an address does, and is none.
    """
    if not text.startswith(SHARED):
        return text
    import hashlib
    import json

    address = shared_address(text)
    digest = hashlib.sha256(os.fsencode(address)).hexdigest()[:12]
    name = "".join(letter for letter in address.rpartition("/")[2] if letter.isalnum() or letter in "-_")[:40]
    folder = f"{user_folder('data')}/shared/{name or 'library'}-{digest}"
    if not os.path.exists(f"{folder}/{ORIGIN}"):  # noqa: PTH110
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        with open(f"{folder}/{ORIGIN}", "x", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({"address": address}, file)
    return folder


def shared_address(text: str) -> str:
    """Return the address of a shared library in its one form; slashes that a `Path` has swallowed are put back.

    >>> shared_address("lance+s3:/bucket/scans/")
    'lance+s3://bucket/scans'

    Raises
    ------
    InputError
        If it is none.
    """
    from roco_search.errors import InputError

    scheme, colon, rest = text.removeprefix(SHARED).partition(":")
    if scheme not in {"file", "s3"} or not colon or not rest.startswith("/") or not (place := rest.strip("/")):
        raise InputError(
            "A shared library has an address such as lance+file:///mnt/share/scans or lance+s3://bucket/scans; write "
            "it in one of these forms."
        )
    if scheme == "file":
        return f"{SHARED}file://{os.path.realpath('/' + place)}"
    if "@" in place or "?" in place:
        raise InputError(
            "The address of a shared library holds no key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and leave "
            "them out of the address."
        )
    return f"{SHARED}s3://{place}"


def cache_folder() -> str:
    """Return where compiled models are kept: ``ROCO_CACHE``, or the user's cache folder."""
    if configured := os.environ.get("ROCO_CACHE"):
        return os.path.expanduser(configured)  # noqa: PTH111
    return user_folder("cache")
