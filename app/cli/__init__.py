"""Command line: `python -m app`."""
