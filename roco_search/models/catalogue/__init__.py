"""Which models exist, which are on this disk, and how one is added or removed."""
