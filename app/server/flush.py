"""Pieces of an answer to send at once, such as server-sent events, and the early end of an answer."""

from __future__ import annotations

__all__ = ["AnswerCut", "Flush"]


class AnswerCut(Exception):
    """An answer that has begun cannot be continued; its application has logged why.

    The server closes the connection, so that the client receives fewer bytes than announced.
    """


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
