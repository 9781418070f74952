"""Checks of the settings: validity, cores and memory, weights of the models."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from app.capacity import WEB_MB, Capacity, max_memory_mb
from app.cli.doctor.findings import Finding, Level
from app.engine import weights
from app.engine.container import MEGABYTE, cpu_quota, memory_limit
from app.engine.models import MIN_HEADROOM_MB, REGISTRY
from app.errors import ModelUnavailable
from app.settings import Settings, SettingsError

__all__ = [
    "COMPOSE_VARIABLES",
    "check_capacity",
    "check_default_model",
    "check_memory",
    "check_other_models",
    "check_settings",
    "invalid_settings",
]

# Variables of docker-compose.yml, and of Docker Compose itself, which read the same .env.
COMPOSE_VARIABLES = {
    "ACME_DIR",
    "COMPOSE_PROFILES",
    "GRAFANA_PASSWORD",
    "HTTP_ADDRESS",
    "JOBS",
    "MODELS",
    "ONNXRUNTIME",
    "REDIS_HOST",
    "TAG",
    "TLS_DIR",
}
# Minimum similarity of a misspelt name to a setting, 0 to 1: MAX_PIXLES and MAX_PIXELS have 0.9.
SIMILARITY = 0.8


def invalid_settings(error: SettingsError) -> Finding:
    """Return a settings error as one finding."""
    advice = "Correct it in the environment or in .env (docs/settings.md); then repeat for the other checks."
    return Finding(Level.FAIL, "settings", "; ".join(map(str, error.problems)), advice)


def check_settings(env_file: str) -> Finding:
    """Find unknown names in .env, such as typing errors, which the service ignores without a message."""
    names = dotenv_values(env_file, encoding="utf-8") if Path(env_file).is_file() else {}
    known = [name.upper() for name in Settings.model_fields]
    unknown = [name for name in names if name.upper() not in {*known, *COMPOSE_VARIABLES}]
    meant = {name: match[0] for name in unknown if (match := get_close_matches(name.upper(), known, 1, SIMILARITY))}
    if meant:
        found = ", ".join(f"{name} ({setting}?)" for name, setting in meant.items())
        advice = "Correct the names: these lines have no effect."
        return Finding(Level.FAIL, "settings", f"{env_file} has misspelt settings: {found}", advice)
    if unknown:
        return Finding(
            Level.WARN,
            "settings",
            f"{env_file} has unknown settings: {', '.join(unknown)}",
            "They have no effect. All settings are in docs/settings.md.",
        )
    return Finding(Level.OK, "settings", f"valid; {len(names)} in {env_file}" if names else "valid")


def check_capacity(settings: Settings, capacity: Capacity) -> Finding:
    """Report cores, memory and the resulting engines."""
    cores = cpu_quota()
    profile = "low" if settings.low_memory else "standard"
    found = (
        f"{_count(cores, 'core')}, {memory_limit() // MEGABYTE} MB: {_count(settings.web_concurrency, 'web worker')} "
        f"with {_count(capacity.engines, 'engine')} of {_count(capacity.config.threads, 'thread')}, "
        f"at most {capacity.config.memory_mb} MB each; memory profile {profile}"
    )
    if settings.web_concurrency * capacity.engines * capacity.config.threads > cores:
        advice = "More threads than cores slow down every photo: lower ENGINE_PROCESSES, ENGINE_THREADS or "
        return Finding(Level.WARN, "capacity", found, advice + "WEB_CONCURRENCY, or leave them empty.")
    return Finding(Level.OK, "capacity", found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def check_memory(settings: Settings, capacity: Capacity) -> Finding:
    """Compare the maximum memory of all processes with the limit."""
    limit = memory_limit() // MEGABYTE
    model_mb = max(REGISTRY[name].memory_mb for name in settings.allowed_models)
    idle = settings.web_concurrency * (WEB_MB + capacity.engines * model_mb)
    maximum = max_memory_mb(settings, capacity)
    if idle > limit:
        advice = "Choose a smaller model (MODEL_NAME, MODELS_ALLOWED) or fewer engines (ENGINE_PROCESSES)."
        return Finding(Level.FAIL, "memory", f"idle engines alone use {idle} MB of {limit} MB", advice)
    if maximum > limit:
        cache = "CACHE_MAX_MB, " if settings.cache_in_memory else ""
        advice = f"Lower {cache}ENGINE_PROCESSES, ENGINE_MEMORY_MB, MAX_CONCURRENT_UPLOADS or MAX_CONTENT_LENGTH."
        return Finding(Level.WARN, "memory", f"{_memory_users(settings)} may use {maximum} MB of {limit} MB", advice)
    if (cap_mb := capacity.config.memory_mb) < model_mb + MIN_HEADROOM_MB:
        advice = f"Set ENGINE_MEMORY_MB to {model_mb + MIN_HEADROOM_MB} or more, or leave it empty."
        found = f"a cap of {cap_mb} MB leaves an engine with a {model_mb} MB model no memory for photos"
        return Finding(Level.WARN, "memory", found, advice)
    if (warn_mb := capacity.config.memory_warn_mb) <= model_mb:
        advice = f"Set MEMORY_WARN_MB to more than {model_mb}, or leave it empty."
        found = f"MEMORY_WARN_MB of {warn_mb} MB replaces an engine with a {model_mb} MB model after every photo"
        return Finding(Level.WARN, "memory", found, advice)
    return Finding(Level.OK, "memory", f"{_memory_users(settings)} use at most {maximum} MB of {limit} MB")


def _memory_users(settings: Settings) -> str:
    return "engines, uploads and cached results" if settings.cache_in_memory else "engines and uploads"


def check_default_model(settings: Settings) -> Finding:
    """Find the weights of the default model."""
    model = REGISTRY[settings.model_name]
    if not weights.find_all(model, settings.rembg_home):
        advice = "Reinstall the service." if model.embedded else f"python -m app models pull {model.name}"
        return Finding(Level.FAIL, "model", f"the weights of {model.name} are not installed", advice)
    if damaged := _damaged("model", settings, [model.name]):
        return damaged
    return Finding(Level.OK, "model", f"{model.name}, licence: {model.licence}")


def _damaged(name: str, settings: Settings, models: Sequence[str]) -> Finding | None:
    """Return a finding about the first model whose installed weights have a wrong SHA-256."""
    for model in map(REGISTRY.__getitem__, models):
        try:
            for path in weights.files(model, settings.rembg_home):
                weights.check(model, path)
        except ModelUnavailable as error:
            return Finding(Level.FAIL, name, error.message, error.advice)
    return None


def check_other_models(settings: Settings) -> Finding:
    """Find the weights of the other models that requests may use."""
    others = settings.allowed_models[1:]
    if damaged := _damaged("models", settings, others):
        return damaged
    missing = [name for name in others if not weights.find_all(REGISTRY[name], settings.rembg_home)]
    if missing:
        commands = "; ".join(f"python -m app models pull {name}" for name in missing)
        return Finding(Level.WARN, "models", f"allowed, but not installed: {', '.join(missing)}", commands)
    return Finding(
        Level.OK, "models", f"also installed: {', '.join(others)}" if others else "no other model is allowed"
    )
