"""How results look in a terminal, a page or a pipe."""
