"""Decoding of bodies as they come, in pieces of any size."""

from __future__ import annotations

import pytest

from app.server.bodies import BodyStream, ChunkedBody, LengthBody, MalformedBody, OversizedBody

WHOLE = b"5\r\nhello\r\n3;name=value\r\nabc\r\n0\r\nX-Trailer: a\r\n\r\n"


def decoded(body: ChunkedBody | LengthBody, data: bytes, step: int) -> tuple[bytes, bytes]:
    """Return the body's data, and the bytes behind the body."""
    received, pieces = bytearray(), []
    for at in range(0, len(data), step):
        received += data[at : at + step]
        if not body.complete:
            pieces += body.feed(received)
    return b"".join(pieces), bytes(received)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_chunked_body_is_decoded_up_to_its_end(step: int) -> None:
    body = ChunkedBody(100)
    assert decoded(body, WHOLE + b"GET /", step) == (b"helloabc", b"GET /")
    assert body.complete


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_body_of_known_length_is_decoded_up_to_its_end(step: int) -> None:
    body = LengthBody(5)
    assert decoded(body, b"helloGET /", step) == (b"hello", b"GET /")
    assert body.complete


@pytest.mark.parametrize("step", [1, 20_000])
@pytest.mark.parametrize(
    "data",
    [
        b"-1\r\nx\r\n",
        b"0x5\r\nhello\r\n",
        b"5\nhello\n0\n\n",
        b"\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b'5;a="b\r\nhello\r\n',
        b"0" * 9_000,
        b"1" * 17 + b"\r\n",
        b"0\r\n" + (b"A: " + b"b" * 900 + b"\r\n") * 10,
        b"1\r\nx\r\n" * 20_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_a_malformed_chunked_body_is_refused(data: bytes, step: int) -> None:
    with pytest.raises(MalformedBody):
        decoded(ChunkedBody(1_000_000), data, step)


@pytest.mark.parametrize("data", [b"ffffffffffffffff\r\nx", b"65\r\n", b"60\r\n" + b"x" * 96 + b"\r\n5\r\n"])
def test_a_chunked_body_over_the_limit_is_refused_at_its_size_line(data: bytes) -> None:
    with pytest.raises(OversizedBody):
        decoded(ChunkedBody(100), data, 1000)


def test_a_body_stream_reads_like_a_file() -> None:
    stream = BodyStream([b"hello", b"world"])
    assert [stream.read(3), stream.read(3), stream.read(), stream.read()] == [b"hel", b"lo", b"world", b""]
