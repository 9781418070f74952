"""Headers that every answer carries, so that a browser does nothing with it that nobody meant."""

from __future__ import annotations

from flask import Flask, Response

from app.settings import Settings

__all__ = ["SECURITY_HEADERS", "init_app"]

# No Strict-Transport-Security: only who ends TLS can promise it. No Permissions-Policy: no answer runs a script.
# The one page, /docs, brings a Content-Security-Policy of its own, which lets in its style and nothing else.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def init_app(app: Flask, settings: Settings) -> None:
    """Add the headers; must come before CORS, since Flask runs what looks at answers in reverse order."""
    varies = bool(settings.cors_origins) and settings.cors_origins != ("*",)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        shared = "Access-Control-Allow-Origin" in response.headers
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if shared else "same-origin"
        if varies:
            response.vary.add("Origin")  # also where the origin was refused: a cache must not mix the two up
        if response.status_code == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response
