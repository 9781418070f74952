"""Samples of metrics in Prometheus' text format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from app.observability.metrics import PREFIX

__all__ = ["samples"]


def samples(text: str) -> dict[str, float]:
    """Return every sample by its name and labels."""
    return {
        sample.name.removeprefix(PREFIX) + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
