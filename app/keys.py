"""API keys: their names, digests and limits. No Flask.

Only digests are kept. Keys come from API_KEYS, named key-1, key-2, …, and from API_KEYS_FILE, which is read again when
it changes. If either is set, a key is required, even while the file lists none.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from app.settings import SettingProblem, SettingsError

__all__ = ["ApiKey", "KeyRing", "check_keys"]

log = logging.getLogger(__name__)

# Seconds between two checks of the file.
CHECK_SECONDS = 1.0

_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_PER_HOUR = re.compile(r"[0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """API key: its name in logs and limits, its SHA-256, and its own limit per hour, None for the general limits."""

    name: str
    digest: bytes
    per_hour: int | None = None


class KeyRing:
    """Valid API keys.

    A file with an error is logged once, and the keys read before stay valid; if no valid file was read yet, only those
    of API_KEYS.
    """

    def __init__(self, keys: Iterable[SecretStr], file: Path | None = None) -> None:
        self._fixed = tuple(_from_setting(keys))
        self._keys = self._fixed
        self._file = file
        self._version: tuple[int, ...] | None = ()
        self._next_check = time.monotonic()
        self._lock = threading.Lock()
        self._reread()

    @property
    def required(self) -> bool:
        """Return whether requests need a key."""
        return bool(self._fixed) or self._file is not None

    def find(self, key: str) -> ApiKey | None:
        """Return the matching key, None if it is unknown; takes the same time for both."""
        self._reread()
        digest = _digest(key.encode("latin-1", "replace"))  # WSGI decodes headers as Latin-1
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def _reread(self) -> None:
        """Read the file again if it has changed; one thread at a time, the others use the current keys."""
        if self._file is None or time.monotonic() < self._next_check or not self._lock.acquire(blocking=False):
            return
        try:
            self._next_check = time.monotonic() + CHECK_SECONDS
            version = _version(self._file)  # before reading, so that the next check finds a change in between
            if version != self._version:
                self._read(self._file, is_first=self._version == ())
                self._version = version
        finally:
            self._lock.release()

    def _read(self, file: Path, *, is_first: bool) -> None:
        try:
            self._keys = (*self._fixed, *_from_file(file, self._fixed))
        except SettingsError as error:
            log.error("keys.kept keys=%d %s", len(self._keys), " ".join(str(error).split()))
            return
        if not is_first:
            log.info("keys.reread keys=%d", len(self._keys))


def check_keys(keys: Iterable[SecretStr], file: Path | None) -> None:
    """Raise SettingsError with the file and the line of an error."""
    if file is not None:
        _from_file(file, tuple(_from_setting(keys)))


def _version(file: Path) -> tuple[int, ...] | None:
    """Return values that change with the file's content, None for a missing file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _from_setting(keys: Iterable[SecretStr]) -> Iterable[ApiKey]:
    for number, key in enumerate(keys, 1):
        yield ApiKey(f"key-{number}", _digest(key.get_secret_value().encode()))


def _from_file(path: Path, fixed: Collection[ApiKey]) -> list[ApiKey]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else "not UTF-8"
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
    """Parse `name:sha256hex:per_hour`; a ValueError never quotes the line, which may be a plain key."""
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
