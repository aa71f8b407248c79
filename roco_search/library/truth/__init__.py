"""SQLite, the one truth of a library. All SQL is in this folder."""
