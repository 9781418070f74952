"""API keys: who may ask.

Only digests are kept. Keys come from API_KEYS, where they are called key-1, key-2, …, and from API_KEYS_FILE, which is
read again on SIGHUP. As soon as either is set a key is needed, even while the file lists none.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Request, g, request
from pydantic import SecretStr

from app.errors import AuthFailed, AuthRequired
from app.settings import SettingProblem, Settings, SettingsError

__all__ = ["ApiKey", "KeyRing", "hand_down", "init_app", "needs_key"]

log = logging.getLogger(__name__)

# Whatever is not named here needs a key. Metrics have METRICS_ALLOWED_IPS instead.
OPEN_ENDPOINTS = frozenset(
    {"health.health", "health.live", "health.ready", "metrics.metrics", "openapi.openapi", "openapi.docs"}
)

_handed_down: KeyRing | None = None

_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_PER_HOUR = re.compile(r"[0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key: its name in logs and limits, its SHA-256, and its own limit per hour, None for the usual ones."""

    name: str
    digest: bytes
    per_hour: int | None = None


class KeyRing:
    """The keys that open the service."""

    def __init__(self, keys: Iterable[SecretStr] = (), file: Path | None = None) -> None:
        """Read the keys; raise SettingsError that names the file and the line where something is wrong."""
        self._fixed = tuple(_from_setting(keys))
        self._file = file
        self._keys = self._read()

    @property
    def required(self) -> bool:
        """Tell whether a key is needed at all."""
        return bool(self._fixed) or self._file is not None

    def find(self, key: str) -> ApiKey | None:
        """Return the key that was sent, None when it is none of ours; takes as long for one as for the other."""
        digest = _digest(key.encode("latin-1", "replace"))  # a header's bytes, as WSGI hands them over
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def reread(self) -> None:
        """Read API_KEYS_FILE again; what is wrong with it is logged, and the keys stay as they were."""
        if self._file is None:
            return
        try:
            self._keys = self._read()
        except SettingsError as error:
            log.error("keys.kept: the old keys stay in force. %s", error)
        else:
            log.info("keys.reread keys=%d", len(self._keys))

    def _read(self) -> tuple[ApiKey, ...]:
        return self._fixed if self._file is None else (*self._fixed, *_from_file(self._file, self._fixed))


def hand_down(ring: KeyRing) -> None:
    """Have the next applications of this process use a ring that a parent process has read."""
    global _handed_down
    _handed_down = ring


def init_app(app: Flask, settings: Settings) -> None:
    """Ask for a key where one is needed; raise SettingsError when the keys can't be read."""
    ring = _handed_down or KeyRing(settings.api_keys, settings.api_keys_file)
    app.extensions["keys"] = ring

    @app.before_request
    def authenticate() -> None:
        g.api_key_name = g.api_key_limit = None
        if ring.required and needs_key(request):
            key = _authenticated(ring, _sent_key(request))
            g.api_key_name, g.api_key_limit = key.name, key.per_hour


def needs_key(request: Request) -> bool:
    """Tell whether what is asked for is behind a key; a browser sends none with its preflight (Fetch, 4.8)."""
    if request.method == "OPTIONS" or request.routing_exception is not None:
        return False
    return request.endpoint not in OPEN_ENDPOINTS


def _authenticated(ring: KeyRing, sent: str) -> ApiKey:
    if not sent:
        raise AuthRequired()
    key = ring.find(sent)
    if key is None:
        raise AuthFailed()
    return key


def _sent_key(request: Request) -> str:
    """Return what was sent as key; X-Api-Key wins, since a proxy may use Authorization for itself."""
    if key := request.headers.get("X-Api-Key", "").strip():
        return key
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _from_setting(keys: Iterable[SecretStr]) -> Iterable[ApiKey]:
    for number, key in enumerate(keys, 1):
        yield ApiKey(f"key-{number}", _digest(key.get_secret_value().encode()))


def _from_file(path: Path, fixed: Collection[ApiKey]) -> list[ApiKey]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(SettingProblem.of("API_KEYS_FILE", str(path), reason)) from None
    keys: list[ApiKey] = []
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            try:
                keys.append(_parse_line(text, (*fixed, *keys)))
            except ValueError as error:
                place = f"{str(path)!r}, line {number}"
                raise SettingsError(SettingProblem("API_KEYS_FILE", place, str(error))) from None
    return keys


def _parse_line(text: str, earlier: Collection[ApiKey]) -> ApiKey:
    """Parse `name:sha256hex:per_hour`; what a ValueError says never holds the line, which may be a key by mistake."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3:
        raise ValueError("a line must be name:sha256hex:per_hour; per_hour may be empty")
    name, digest, per_hour = parts
    if not _NAME.fullmatch(name):
        raise ValueError("the name must be 1 to 64 letters, digits and any of . _ @ -")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the second part must be the key's SHA-256, 64 hexadecimal digits")
    if not _PER_HOUR.fullmatch(per_hour):
        raise ValueError("per_hour must be a whole number or empty")
    key = ApiKey(name, bytes.fromhex(digest), int(per_hour) if per_hour else None)
    if any(key.name == other.name for other in earlier):
        raise ValueError("this name is taken by an earlier key")
    if any(key.digest == other.digest for other in earlier):
        raise ValueError("this key is listed twice")
    return key
