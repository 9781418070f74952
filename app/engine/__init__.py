"""Models, sessions, pipeline, queue, and the pool of isolated engine processes; no Flask."""
