"""Pieces of an answer to send at once, such as server-sent events."""

from __future__ import annotations

__all__ = ["Flush"]


class Flush(bytes):
    """Piece of an answer that is sent at once; the server asks for the next piece after `pause` seconds.

    No thread is held during the pause. It ends early when the worker stops, which then ends the answer and closes the
    application's iterable, and when the client hangs up. Under another server a Flush is an ordinary piece.
    """

    pause: float

    def __new__(cls, data: bytes = b"", pause: float = 0.0) -> Flush:
        """Return the bytes with their pause in seconds."""
        piece = super().__new__(cls, data)
        piece.pause = pause
        return piece
