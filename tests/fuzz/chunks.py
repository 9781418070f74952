"""Chunked bodies (RFC 9112, 7.1) and damage to their framing, decoded as a connection does: in pieces of any size."""

from __future__ import annotations

from random import Random

from app.server.bodies import ChunkedBody, MalformedBody, OversizedBody

__all__ = ["decoded", "framed"]

LIMIT = 5_000_000
NEXT_REQUEST = b"GET / HTTP/1.1\r\n"
FRAMING = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"0\r\n\r\n",
        b"0\r\n",
        b"1\r\nx\r\n" * 30_000,
        b"A: b\r\n",
        b"f" * 17,
        b"-1",
        b"+1",
        b"0x1",
    ),
    *(
        b";",
        b";a=b",
        b';a="b\r\n"',
        b";" + b"a" * 2000,
        b" ",
        b"_",
        b"\x00",
        b"\xff",
        b"ffffffffffffffff\r\n",
        b"4c4b41\r\n",
    ),
)


def framed(body: bytes, rng: Random) -> bytes:
    """Return a body in chunks of random sizes, and the start of the next request."""
    pieces, at = list[bytes](), 0
    while at < len(body):
        size = min(len(body) - at, int(2 ** rng.uniform(4, 18)))
        extension = b";a=b" if rng.random() < 0.1 else b""
        pieces.append(b"%x%s\r\n%s\r\n" % (size, extension, body[at : at + size]))
        at += size
    trailers = b"A: b\r\n" if rng.random() < 0.1 else b""
    return b"".join([*pieces, b"0\r\n", trailers, b"\r\n", NEXT_REQUEST])


def decoded(body: bytes, rng: Random) -> bytes | str:
    """Frame, damage by chance and decode a body; return it, or why it is refused."""
    whole = framed(body, rng)
    damaged = rng.random() < 0.5
    if damaged:
        for _ in range(rng.randrange(1, 4)):
            at = rng.choice((rng.randrange(len(whole) + 1), rng.randrange(min(40, len(whole) + 1))))
            whole = whole[:at] + rng.choice(FRAMING) + whole[at + rng.randrange(4) :]
    result = _fed([whole])
    assert _fed(_split(whole, rng)) == result, "the result depends on the pieces that arrive"
    assert damaged or result == (body, NEXT_REQUEST), "an intact body is changed"
    return result if isinstance(result, str) else result[0]


def _fed(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    """Return the body and the bytes after it, or why it is refused."""
    decoder, received, data = ChunkedBody(LIMIT), bytearray(), list[bytes]()
    try:
        for piece in pieces:
            received += piece
            data += decoder.feed(received) if not decoder.complete else []
    except MalformedBody as error:
        return str(error)
    except OversizedBody:
        return "too large"
    if not decoder.complete:
        return "the body ended before its announced end"
    assert sum(map(len, data)) <= LIMIT
    return b"".join(data), bytes(received)


def _split(whole: bytes, rng: Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randrange(20)))
    near = [cut + step for cut in cuts[:3] for step in range(5)]
    ends = [*sorted({*cuts, *(each for each in near if each < len(whole))}), len(whole)]
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
