"""``python -m roco_search`` is ``roco``."""

from roco_search.cli import main

main()
