"""Fetches from URLs: requests, addresses, redirects."""

from __future__ import annotations

import logging
import socket
from itertools import repeat

import pytest

from app.errors import DownloadFailed, UrlRefused
from app.fetch.url_fetcher import USER_AGENT, UrlFetcher
from app.settings import Settings
from tests.support.fetching import (
    IMAGE,
    INSIDE,
    REDIRECT,
    Names,
    fetch,
    fetcher,
    soon,
)
from tests.support.scripted_server import answer, serving


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
