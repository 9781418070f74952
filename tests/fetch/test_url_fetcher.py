"""Fetches from servers on loopback, with a resolver and a definition of "public" of the tests.

127.0.0.1 stands for the internet, every other address for the private network. A fetch without a limit would be a test
that never ends.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import Any

import pytest
import trustme
from hypothesis import given, settings, strategies

from app.errors import DownloadFailed, FileTooLarge, ServiceError, UrlRefused
from app.fetch.addresses import IPAddress
from app.fetch.url_fetcher import MAX_LOOKUPS, USER_AGENT, UrlFetcher
from app.settings import Settings
from tests.support.scripted_server import Script, answer, serving

MAX_BYTES = 100_000
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(5000)
INSIDE = "127.0.0.2"
REDIRECT = "302 Found"


def is_internet(address: IPAddress) -> bool:
    return str(address) == "127.0.0.1"


class Names:
    """Resolver of some names that records its look-ups."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = {name.replace("_", "."): found for name, found in addresses.items()}
        self.looked_up: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.looked_up.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.addresses[host]


def fetcher(*ports: int, names: Callable[[str], Sequence[str]] | None = None, **options: Any) -> UrlFetcher:
    hosts = ("img.example", "other.example", "inside.example", INSIDE)
    allowed = tuple(f"{host}:{port}" for host in hosts for port in ports)
    known = names or Names(img_example=["127.0.0.1"], other_example=["127.0.0.1"], inside_example=[INSIDE])
    defaults: dict[str, Any] = {"resolve": known, "is_public": is_internet}
    return UrlFetcher(
        Settings(allow_url_fetch=True, max_image_bytes=MAX_BYTES, allowed_url_hosts=allowed), **defaults | options
    )


def fetch(script: Script | bytes, path: str = "/a.png", within: float = 20, **options: Any) -> bytes:
    with serving(script) as (port, _):
        return fetcher(port, **options).fetch(f"http://img.example:{port}{path}", time.monotonic() + within)


def soon() -> float:
    return time.monotonic() + 20


def test_url_fetch_is_off_by_default() -> None:
    with pytest.raises(UrlRefused, match="URL fetch is disabled"):
        UrlFetcher(Settings()).fetch("http://8.8.8.8/", soon())


def test_an_image_is_fetched() -> None:
    assert fetch(answer(IMAGE)) == IMAGE


def test_only_the_fetchers_own_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(answer(IMAGE)) as (port, heads):
        fetcher(port).fetch(f"http://img.example:{port}/a%20b?c=d", soon())
    assert heads[0].decode().split("\r\n") == [
        "GET /a%20b?c=d HTTP/1.1",
        f"Host: img.example:{port}",
        f"User-Agent: {USER_AGENT}",
        "Accept: image/*, */*;q=0.1",
        "Accept-Encoding: identity",
        "Connection: close",
        "",
        "",
    ]


def test_cookies_are_not_sent_back() -> None:
    with serving(answer(IMAGE, "200 OK", "Set-Cookie: a=b; Path=/")) as (port, heads):
        ours = fetcher(port)
        for _ in range(2):
            ours.fetch(f"http://img.example:{port}/", soon())
    assert len(heads) == 2
    assert b"ookie" not in heads[1]


# Addresses


@pytest.mark.parametrize(
    "found",
    [[], [INSIDE], ["10.0.0.1"], ["127.0.0.1", INSIDE], [INSIDE, "127.0.0.1"], ["127.0.0.1", "::1"], ["fe80::1%eth0"]],
    ids=str,
)
def test_a_host_with_any_address_that_is_not_public_is_refused(found: list[str]) -> None:
    with pytest.raises(UrlRefused), serving(answer(IMAGE)) as (port, heads):
        try:
            fetcher(port, names=Names(img_example=found)).fetch(f"http://img.example:{port}/", soon())
        finally:
            assert heads == []


def test_an_address_in_the_url_is_checked_like_that_of_a_name() -> None:
    with serving(answer(IMAGE)) as (port, _):
        names = Names()
        with pytest.raises(UrlRefused):
            fetcher(port, names=names).fetch(f"http://{INSIDE}:{port}/", soon())
        assert names.looked_up == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
    ],
)
def test_the_default_check_refuses_private_addresses(host: str) -> None:
    with pytest.raises(UrlRefused):
        UrlFetcher(Settings(allow_url_fetch=True)).fetch(f"http://{host}/", soon())


def test_an_unknown_host_and_a_private_one_give_the_same_error() -> None:
    errors = []
    for host in ("unknown.example", "inside.example"):
        settings = Settings(allow_url_fetch=True)
        ours = UrlFetcher(settings, resolve=Names(inside_example=["10.0.0.7"]))
        with pytest.raises(UrlRefused) as caught:
            ours.fetch(f"http://{host}/", soon())
        errors.append((str(caught.value), caught.value.details, caught.value.advice))
    assert errors[0] == errors[1]


def test_addresses_are_only_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app.fetch"), pytest.raises(UrlRefused) as caught:
        fetcher(80, names=Names(img_example=[INSIDE])).fetch("http://img.example:80/secret", soon())
    assert f"url.refused host=img.example addresses={INSIDE}" in caplog.messages
    assert INSIDE not in f"{caught.value} {caught.value.details} {caught.value.advice}"
    assert "secret" not in caplog.text


def test_the_name_is_looked_up_once_and_the_connection_goes_to_that_address() -> None:
    """DNS rebinding: the second lookup returns a private address."""
    answers = iter([["127.0.0.1"], [INSIDE]])
    with serving(answer(IMAGE)) as (port, heads):
        ours = fetcher(port, names=lambda _host: next(answers))
        assert ours.fetch(f"http://img.example:{port}/", soon()) == IMAGE
        with pytest.raises(UrlRefused):
            ours.fetch(f"http://img.example:{port}/", soon())
    assert len(heads) == 1


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with serving(answer(IMAGE)) as (port, _):
        ours = fetcher(port, names=Names(img_example=[INSIDE, "127.0.0.1"]), is_public=lambda _: True)
        assert ours.fetch(f"http://img.example:{port}/", soon()) == IMAGE


def test_a_port_that_is_not_allowed_is_not_connected_to() -> None:
    with serving(answer(IMAGE)) as (port, heads):
        with pytest.raises(UrlRefused):
            fetcher(80).fetch(f"http://img.example:{port}/", soon())
        assert heads == []


# Redirects


@pytest.mark.parametrize("status", ["301 Moved Permanently", REDIRECT, "303 See Other", "307 Temporary Redirect"])
def test_redirects_are_followed(status: str) -> None:
    with serving(answer(IMAGE)) as (port, heads):
        location = f"Location: http://other.example:{port}/there"
        with serving(answer(b"", status, location)) as (first, _):
            assert fetcher(port, first).fetch(f"http://img.example:{first}/", soon()) == IMAGE
    assert heads[0].startswith(f"GET /there HTTP/1.1\r\nHost: other.example:{port}\r\n".encode())


@pytest.mark.parametrize(
    "location",
    [
        "http://inside.example:{port}/",
        f"http://{INSIDE}:{{port}}/",
        "http://img.example:22/",
        "http://unknown.example/",
        "file:///etc/passwd",
        "http://user@other.example:{port}/",
        "http://0x7f.2:{port}/",
        "ftp://img.example:{port}/",
    ],
)
def test_redirects_are_checked_like_urls(location: str) -> None:
    def script(connection: socket.socket) -> None:
        port = connection.getsockname()[1]
        connection.sendall(answer(b"", REDIRECT, f"Location: {location.format(port=port)}"))

    with pytest.raises(UrlRefused):
        fetch(script)


def test_a_redirect_is_looked_up_again() -> None:
    """DNS rebinding between two hops."""
    answers = iter([["127.0.0.1"], [INSIDE]])
    with pytest.raises(UrlRefused):
        fetch(answer(b"", REDIRECT, "Location: /again"), names=lambda _host: next(answers))


def test_three_redirects_are_followed_and_no_more() -> None:
    for hops, expected in ((3, 4), (4, 4)):
        left = [*repeat(answer(b"", REDIRECT, "Location: /next"), hops), answer(IMAGE)]
        with serving(lambda connection: connection.sendall(left.pop(0))) as (port, heads):  # noqa: B023
            url = f"http://img.example:{port}/"
            if hops == 3:
                assert fetcher(port).fetch(url, soon()) == IMAGE
            else:
                with pytest.raises(DownloadFailed, match="3 times"):
                    fetcher(port).fetch(url, soon())
        assert len(heads) == expected


def test_endless_redirects_are_stopped() -> None:
    with pytest.raises(DownloadFailed, match="3 times"):
        fetch(answer(b"", REDIRECT, "Location: /a.png"))


def test_a_redirect_without_a_location_fails() -> None:
    with pytest.raises(DownloadFailed, match="302"):
        fetch(answer(b"", REDIRECT))


# Limit of bytes


def test_an_image_of_exactly_the_limit_is_fetched() -> None:
    assert fetch(answer(bytes(MAX_BYTES))) == bytes(MAX_BYTES)


def test_a_declared_length_over_the_limit_is_refused() -> None:
    with pytest.raises(FileTooLarge):
        fetch(answer(b"", length=MAX_BYTES + 1))


def chunks(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(10_000))


@pytest.mark.parametrize(
    "script", [chunks, endless, answer(bytes(MAX_BYTES + 1))], ids=["chunks", "endless", "declared"]
)
def test_a_body_over_the_limit_is_refused(script: Script | bytes) -> None:
    with pytest.raises(FileTooLarge):
        fetch(script)


def test_chunks_are_joined() -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(IMAGE[i : i + 99]), IMAGE[i : i + 99]) for i in range(0, len(IMAGE), 99))
    assert fetch(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n") == IMAGE


def repeated(start: bytes, piece: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)

    return script


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "script",
    [
        repeated(HEAD, b"X-A: b\r\n"),
        repeated(HEAD + b"X-A: ", b"b" * 1000),
        repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        repeated(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 60_000 + b"\r\na\r\n"),
        repeated(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X-A: b\r\n"),
        repeated(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 1000),
    ],
    ids=["headers", "header", "continue", "extensions", "trailers", "chunk size"],
)
def test_headers_and_framing_have_a_limit_too(script: Script) -> None:
    with pytest.raises(DownloadFailed):
        fetch(script)


# Limit of time


def drip(start: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"1")
            time.sleep(0.02)

    return script


DRIPS = {
    "status": drip(b"HTTP/1.1 "),
    "header": drip(HEAD + b"X-A: "),
    "body": drip(HEAD + b"Content-Length: 50000\r\n\r\n"),
    "chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\nc350\r\n"),
    "chunk size": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "open end": drip(HEAD + b"\r\n"),
}


@pytest.mark.parametrize("script", DRIPS.values(), ids=DRIPS)
def test_a_slow_response_ends_at_the_deadline(script: Script) -> None:
    with pytest.raises(DownloadFailed, match="too long"):
        fetch(script, within=0.3)


def test_a_fetch_has_its_own_time_limit() -> None:
    with pytest.raises(DownloadFailed, match="too long"):
        fetch(DRIPS["open end"], within=3600, seconds=0.3)


def test_redirects_share_one_deadline() -> None:
    def script(connection: socket.socket) -> None:
        time.sleep(0.2)
        connection.sendall(answer(b"", REDIRECT, "Location: /a.png"))

    with pytest.raises(DownloadFailed, match="too long"):
        fetch(script, within=0.5)


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def test_a_silent_server_is_given_up() -> None:
    with pytest.raises(DownloadFailed, match="too long"):
        fetch(silent, within=0.3)


def test_no_connection_is_made_after_the_deadline() -> None:
    with serving(answer(IMAGE)) as (port, heads):
        with pytest.raises(DownloadFailed, match="too long"):
            fetcher(port).fetch(f"http://img.example:{port}/", time.monotonic() - 1)
        assert heads == []


def test_a_slow_lookup_is_given_up() -> None:
    done = threading.Event()

    def resolve(host: str) -> Sequence[str]:
        done.wait()
        return ["127.0.0.1"]

    with pytest.raises(DownloadFailed, match="too long"):
        fetch(answer(IMAGE), within=0.3, names=resolve)
    done.set()


def test_concurrent_lookups_are_limited() -> None:
    done = threading.Event()
    started: list[str] = []

    def resolve(host: str) -> Sequence[str]:
        started.append(host)
        done.wait()
        return ["127.0.0.1"]

    ours = fetcher(80, names=resolve)
    for _ in range(MAX_LOOKUPS + 5):
        with pytest.raises(DownloadFailed, match="too long"):
            ours.fetch("http://img.example/", time.monotonic() + 0.02)
    assert len(started) <= MAX_LOOKUPS
    done.set()


# Unusable responses


@pytest.mark.parametrize(
    "script",
    [
        answer(IMAGE, "404 Not Found"),
        answer(IMAGE, "500 Internal Server Error"),
        answer(IMAGE, "206 Partial Content"),
        answer(b"", "204 No Content"),
        answer(b""),
        answer(IMAGE, "200 OK", "Content-Encoding: gzip"),
        answer(IMAGE, "200 OK", "Content-Encoding: br"),
        answer(IMAGE, length=len(IMAGE) + 1),
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        IMAGE,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
    ids=lambda script: repr(script[:30]),
)
def test_an_unusable_response_fails_with_a_clear_error(script: bytes) -> None:
    with pytest.raises(DownloadFailed):
        fetch(script)


def test_an_unreachable_server_fails_with_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(DownloadFailed):
        fetcher(port).fetch(f"http://img.example:{port}/", soon())


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> Callable[[], ssl.SSLContext]:
    """Return a factory of default contexts that also trust the authority of these tests."""

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    return make


@contextmanager
def secure(authority: trustme.CA, *names: str) -> Iterator[tuple[int, list[str | None]]]:
    """Serve the image with a certificate for these names; yield the port and the names requested by clients (SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with serving(answer(IMAGE), context) as (port, _):
        yield port, asked


def test_the_certificate_is_checked_against_the_name(
    authority: trustme.CA, trusting: Callable[[], ssl.SSLContext]
) -> None:
    with secure(authority, "img.example") as (port, asked):
        assert fetcher(port, tls=trusting).fetch(f"https://IMG.example.:{port}/", soon()) == IMAGE
        assert asked == ["img.example"]


@pytest.mark.parametrize("names", [["other.example"], ["127.0.0.1"], ["example"]])
def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusting: Callable[[], ssl.SSLContext], names: list[str]
) -> None:
    with secure(authority, *names) as (port, _), pytest.raises(DownloadFailed, match="certificate"):
        fetcher(port, tls=trusting).fetch(f"https://img.example:{port}/", soon())


def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with secure(authority, "img.example") as (port, _), pytest.raises(DownloadFailed, match="certificate"):
        fetcher(port).fetch(f"https://img.example:{port}/", soon())


def test_a_redirect_from_https_to_http_is_refused(
    authority: trustme.CA, trusting: Callable[[], ssl.SSLContext]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("img.example").configure_cert(context)
    with serving(answer(b"", REDIRECT, "Location: http://img.example/"), context) as (port, _):
        with pytest.raises(UrlRefused, match="https to http"):
            fetcher(port, tls=trusting).fetch(f"https://img.example:{port}/", soon())


def test_an_endless_handshake_is_given_up() -> None:
    with serving(silent) as (port, _):
        with pytest.raises(DownloadFailed, match="too long"):
            fetcher(port).fetch(f"https://img.example:{port}/", time.monotonic() + 0.3)


# Any input gives a service error

STARTS = [b"", b"HTTP/1.1 ", HEAD, HEAD + b"Content-Length: ", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"]
STARTS += [b"HTTP/1.1 302 Found\r\nLocation: "]


@settings(max_examples=200, deadline=None)
@given(strategies.sampled_from(STARTS), strategies.binary(max_size=300))
def test_any_response_gives_a_body_or_a_service_error(start: bytes, rest: bytes) -> None:
    with serving(start + rest) as (port, _), suppress(ServiceError):
        fetcher(port).fetch(f"http://img.example:{port}/", soon())


@given(strategies.text(max_size=40), strategies.sampled_from(["", "http://", "https://[", "http://img.example"]))
def test_any_text_that_is_not_a_url_is_refused(text: str, start: str) -> None:
    ours = UrlFetcher(Settings(allow_url_fetch=True), resolve=Names())
    with pytest.raises(UrlRefused):
        ours.fetch(start + text, soon())


# POST


def post(script: Script | bytes, body: bytes = b"{}", **options: Any) -> tuple[int, list[bytes]]:
    with serving(script) as (port, heads):
        headers = {"Content-Type": "application/json"}
        return fetcher(port, **options).post(f"http://img.example:{port}/hook?a=b", body, headers, soon()), heads


def test_a_post_sends_its_headers_and_body() -> None:
    received = list[bytes]()

    def script(connection: socket.socket) -> None:
        while sum(map(len, received)) < 300_000:
            received.append(connection.recv(65_536))
        connection.sendall(answer(b"", "204 No Content"))

    status, heads = post(script, b"x" * 300_000)
    assert status == 204
    assert b"".join(received) == b"x" * 300_000
    lines = heads[0].decode().split("\r\n")
    assert lines[0] == "POST /hook?a=b HTTP/1.1"
    assert {"Content-Type: application/json", "Content-Length: 300000", f"User-Agent: {USER_AGENT}"} < set(lines)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops"])
def test_a_post_returns_any_status(status: str) -> None:
    assert post(answer(b"", status))[0] == int(status[:3])


def test_a_post_follows_no_redirect() -> None:
    status, heads = post(answer(b"", "307 Temporary Redirect", "Location: http://inside.example/"))
    assert status == 307
    assert len(heads) == 1


@pytest.mark.parametrize(
    "url", ["http://inside.example:{}/", "http://10.0.0.1/", "http://unlisted.example/", "ftp://x/"]
)
def test_a_post_to_an_address_that_is_not_allowed_is_refused(url: str) -> None:
    with serving(answer()) as (port, heads):
        with pytest.raises(UrlRefused):
            fetcher(port).post(url.format(port), b"", {}, soon())
        assert heads == []


@pytest.mark.parametrize("script", [b"", b"not http\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3_000_000])
def test_a_post_without_a_valid_answer_is_an_error(script: bytes) -> None:
    with pytest.raises(OSError):
        post(script)


def test_a_post_to_a_silent_server_ends_at_its_deadline() -> None:
    over = threading.Event()

    def script(_: socket.socket) -> None:
        over.wait()

    with serving(script) as (port, _), pytest.raises(TimeoutError):
        fetcher(port).post(f"http://img.example:{port}/", b"", {}, time.monotonic() + 0.3)
    over.set()
