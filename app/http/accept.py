"""Media types that a client accepts."""

from __future__ import annotations

from flask import Request
from werkzeug.datastructures import MIMEAccept

__all__ = ["accepted_types"]


def accepted_types(request: Request) -> MIMEAccept:
    """Return the types of the Accept header without their parameters, such as charset."""
    return MIMEAccept([(name.partition(";")[0].strip().lower(), quality) for name, quality in request.accept_mimetypes])
