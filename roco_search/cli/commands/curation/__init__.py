"""The commands that curate a library: similar, duplicates, outliers, map and export."""
