"""The ground floor: files, folders and processes, for every room above."""
