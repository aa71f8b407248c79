"""Which models exist, which are on this disk, and how one gets here or leaves."""
