"""A warm process that answers queries for one library: used by ``roco query`` where there is one, and never needed.

The files: `client` (asks, and imports nothing heavy), `server` (answers), `warm` (what a process keeps between two
queries).
"""
