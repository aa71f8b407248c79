"""``roco``, and ``python -m roco_search``: a query goes to a warm process, if there is one, before anything loads."""

import sys


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    from roco_search.system.process import leave, open_streams

    open_streams()
    leave(_code())


def _code() -> int:
    if sys.argv[1:2] == ["query"]:
        from roco_search.daemon.client import ask

        if (code := ask(sys.argv[1:])) is not None:
            return code
        from roco_search.system.process import collect_rarely

        collect_rarely()
    from roco_search.cli import answer

    return answer(sys.argv[1:])


if __name__ == "__main__":
    main()
