"""Nearest neighbours: the matrix, its 8-bit prefilter and the graph, all of which can be rebuilt."""
