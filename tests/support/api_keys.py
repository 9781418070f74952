"""API keys and their digests."""

from __future__ import annotations

import hashlib

from pydantic import SecretStr

__all__ = ["KEYS", "sha"]

KEYS = (SecretStr("first-secret"), SecretStr("zweites-Gehe\u00edmnis"))


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
