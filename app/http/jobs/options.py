"""Options of a job: outputs of each photo, webhook, and unknown names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.errors import InvalidParameter
from app.jobs.model import Variant
from app.jobs.work import parse_variant
from app.options.parameters import PARAMETERS, WEB_OPTIONS
from app.options.presets import Preset, apply_preset
from app.settings import Settings
from app.urls import parse_url

__all__ = ["JobOptions", "parse_options"]

OWN = ("preset", "presets", "webhook_url")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """Options of a job, parsed and checked; `ignored` are the names of parameters without effect."""

    variants: tuple[Variant, ...]
    webhook_url: str = ""
    ignored: frozenset[str] = frozenset()


def parse_options(texts: Mapping[str, str], settings: Settings, presets: Mapping[str, Preset]) -> JobOptions:
    """Parse the fields of a job; raise InvalidParameter for the first invalid one, UrlRefused for a webhook's URL."""
    fields = {name: text for name, text in texts.items() if name not in OWN}
    parameter = "presets" if "presets" in texts else "preset"
    variants, ignored = list[Variant](), set[str]()
    for name in _preset_names(texts) or [""]:
        own = apply_preset(fields | ({"preset": name} if name else {}), presets, parameter=parameter)
        ignored |= parse_variant(own, settings).ignored | (WEB_OPTIONS & own.keys())
        known = {key: text for key, text in own.items() if key in PARAMETERS and key not in WEB_OPTIONS}
        variants.append(Variant(name, known))
    return JobOptions(tuple(variants), _webhook_url(texts, settings), frozenset(ignored))


def _preset_names(texts: Mapping[str, str]) -> list[str]:
    """Return the names in `presets`, or the one in `preset`, each once."""
    if "preset" in texts and "presets" in texts:
        raise InvalidParameter("Send either 'preset' or 'presets'.", parameter="presets")
    names: Iterator[str] = (name.strip().lower() for name in texts.get("presets", texts.get("preset", "")).split(","))
    return list(dict.fromkeys(filter(None, names)))


def _webhook_url(texts: Mapping[str, str], settings: Settings) -> str:
    url = texts.get("webhook_url", "").strip()
    if not url:
        return ""
    if not settings.webhook_secret:
        raise InvalidParameter(
            "This server sends no webhooks.",
            solution="Omit 'webhook_url', or have the operator set WEBHOOK_SECRET.",
            parameter="webhook_url",
        )
    parse_url(url)
    return url
