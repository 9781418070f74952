"""Reproducible measurements of the real service: `load` takes memory, latency and throughput, `soak` endurance."""
