"""Signatures of webhooks."""

from __future__ import annotations

import hashlib
import hmac

__all__ = ["sign"]


def sign(secret: str, body: bytes) -> str:
    """Return the value of X-Signature: HMAC-SHA256 of a body with WEBHOOK_SECRET."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
