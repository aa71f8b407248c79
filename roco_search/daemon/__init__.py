"""A warm process that answers queries for one library: used by ``roco query`` where there is one, and never needed.

The rooms inside: `place` (where its socket lies), `client` (asks, and imports nothing heavy), `server` (answers),
`warm` (what a process keeps between two queries).
"""
