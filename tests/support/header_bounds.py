"""Bound on the headers of an answer; buffers of most proxies have 4 or 8 kB."""

__all__ = ["MAX_HEADER_BYTES"]

MAX_HEADER_BYTES = 4000
