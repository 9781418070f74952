"""Diagnosis of an installation: `python -m app doctor`.

A check is a function that returns one Finding. Like the whole command line, this package imports no numpy, Pillow
or onnxruntime: they are checked in an engine process.
"""
