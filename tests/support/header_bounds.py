"""Bound on the headers of an answer, which the buffers of nginx.conf must hold."""

__all__ = ["MAX_HEADER_BYTES"]

MAX_HEADER_BYTES = 4000
