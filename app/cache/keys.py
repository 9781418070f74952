"""Cache keys: the SHA-256 of everything that a result depends on."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from dataclasses import asdict, fields

from app.engine import weights
from app.engine.messages import EngineConfig
from app.engine.models import REGISTRY
from app.removal import RemovalRequest
from app.settings import package_version

__all__ = ["ResultKeys"]

# Fields without effect on a result. All others are part of the key, and so are new ones.
EXCLUDED_FROM_REQUEST = {"options", "more_options", "request_id"}  # options are added apart
EXCLUDED_FROM_CONFIG = {
    "fast_under_load",  # results made under load are not cached
    "faults",
    "log_file",
    "log_format",
    "log_level",
    "max_tasks",
    "memory_warn_mb",  # memory_mb counts: it bounds the scale of matting and the size of a canvas
    "model",  # the default; the model of the request counts
    "rembg_home",  # the digest of the weights counts
    "threads",
    "threads_alone",
}


class ResultKeys:
    """Keys of the results of one engine configuration and one version of the service."""

    def __init__(self, config: EngineConfig) -> None:
        self._home = config.rembg_home
        settings = {name: value for name, value in asdict(config).items() if name not in EXCLUDED_FROM_CONFIG}
        self._service = {"version": package_version()} | settings
        self._digests: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, request: RemovalRequest) -> str | None:
        """Return the key of a request's result as hexadecimal digits; None while the model's weights are missing."""
        digest = self._weights_digest(request.options.model)
        if digest is None:
            return None
        images = [field.name for field in fields(request) if field.name not in EXCLUDED_FROM_REQUEST]
        parts = {
            "service": self._service,
            "weights": digest,
            "images": {name: hashlib.sha256(getattr(request, name)).hexdigest() for name in images},
            "options": asdict(request.options),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _weights_digest(self, name: str) -> str | None:
        """Return the SHA-256 of a model's weights, read once: engines keep the weights that they have loaded.

        For a cascade these are the digests of all members.
        """
        with self._lock:  # concurrent callers would each read hundreds of megabytes
            if name not in self._digests and (paths := weights.find_all(REGISTRY[name], self._home)):
                with suppress(OSError):  # the engine reports the error in detail
                    self._digests[name] = " ".join(map(weights.sha256, paths))
            return self._digests.get(name)
