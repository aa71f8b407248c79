"""One run of ``roco index``: walk, plan, read, embed, write."""
