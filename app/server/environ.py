"""Keys of the WSGI environment that the server adds, and the interim answer that it shares with the application."""

from __future__ import annotations

__all__ = ["ARRIVAL", "CONTINUE", "ERROR"]

# Time at which the head was complete (monotonic seconds), and the ServiceError of a request that can't be served.
ARRIVAL, ERROR = "app.server.arrival", "app.server.error"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
