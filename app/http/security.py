"""Security headers of every answer, for browsers."""

from __future__ import annotations

from flask import Flask, Response

from app.settings import Settings

__all__ = ["SECURITY_HEADERS", "init_app"]

# No Strict-Transport-Security: it is set where TLS terminates.
# The pages / and /docs have their own Content-Security-Policy.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def init_app(app: Flask, settings: Settings) -> None:
    """Add the headers; register before CORS, since Flask runs `after_request` hooks in reverse order."""
    varies = bool(settings.cors_origins) and settings.cors_origins != ("*",)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        shared = "Access-Control-Allow-Origin" in response.headers
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if shared else "same-origin"
        if varies:
            response.vary.add("Origin")  # also for refused origins: caches must keep the answers apart
        if response.status_code == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response
