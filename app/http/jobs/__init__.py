"""Jobs over HTTP: bodies that are stored while they arrive, answers, event streams, ZIP."""
