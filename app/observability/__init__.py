"""Request ids, logs and health."""
