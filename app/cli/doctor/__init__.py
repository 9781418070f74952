"""Examine an installation and explain what is found: `python -m app doctor`.

A check is a function that returns one Finding. Like the rest of the command line this package imports no numpy, Pillow
or onnxruntime: whether those work is seen in an engine, which is a process of its own.
"""
