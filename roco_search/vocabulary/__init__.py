"""Prompt sets for zero-shot classification, as data; see README.md beside this file."""
