"""Keys of the WSGI environment that the server adds, and the interim answer that it shares with the application."""

from __future__ import annotations

__all__ = ["ARRIVAL", "CONTINUE", "ERROR"]

# When the request's head had come (monotonic seconds), and why the request can't be served (a ServiceError).
ARRIVAL, ERROR = "app.server.arrival", "app.server.error"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
