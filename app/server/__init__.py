"""Connections of a web worker: gunicorn's worker class of this service, without Flask."""
