"""Fetches from URLs over TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trustme

from app.errors import DownloadFailed, UrlRefused
from tests.support.fetching import (
    IMAGE,
    REDIRECT,
    fetcher,
    silent,
    soon,
)
from tests.support.scripted_server import answer, serving


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
