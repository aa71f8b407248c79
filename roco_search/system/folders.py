"""Where a user's libraries, models, settings and cache are, as text: a warm query has no time to load ``pathlib``."""

import os
import sys

# Kind: the variable that names the place, and where it is without one (XDG Base Directory Specification 0.8).
_XDG = {
    "data": ("XDG_DATA_HOME", "~/.local/share"),
    "cache": ("XDG_CACHE_HOME", "~/.cache"),
    "config": ("XDG_CONFIG_HOME", "~/.config"),
}


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
        return os.path.expanduser(configured)  # noqa: PTH111
    return f"{user_folder('data')}/library"


def cache_folder() -> str:
    """Return where compiled models are kept: ``ROCO_CACHE``, or the user's cache folder."""
    if configured := os.environ.get("ROCO_CACHE"):
        return os.path.expanduser(configured)  # noqa: PTH111
    return user_folder("cache")
