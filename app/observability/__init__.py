"""Metrics and health; no Flask."""
