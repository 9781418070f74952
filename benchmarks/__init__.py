"""Reproducible measurements of the real service; `python -m benchmarks.load` takes memory, latency, throughput."""
