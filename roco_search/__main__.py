"""``roco``, and ``python -m roco_search``: a query goes to a warm process, if there is one, before anything loads."""

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["query"]:
        from roco_search.daemon.client import ask

        if (code := ask(sys.argv[1:])) is not None:
            sys.exit(code)
    from roco_search.cli import main as run

    run()


if __name__ == "__main__":
    main()
