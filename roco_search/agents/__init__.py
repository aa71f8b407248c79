"""A library for programs that ask on a person's behalf: one set of read-only functions, and the doors to it.

The files: `functions` (what can be asked, and what an answer may contain), `mcp_server` (the Model Context Protocol on
standard input and output), `http_server` (HTTP and JSON on this machine, from ``roco serve``).
"""
