"""Fetch an image from a URL that a stranger chose.

What is connected to is an address that was looked up once and found public; the connection is made to that address
and to no other (a name can't lead elsewhere at a second look, as in DNS rebinding). Where any address of a host is not
public the host is refused: which one would be used is a matter of luck. Every redirect is treated like a new URL.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address

from app.errors import DownloadFailed, FileTooLarge, UrlRefused
from app.fetch.addresses import IPAddress, is_public
from app.fetch.pinned_connection import Wire, connect, seconds_left, send_get
from app.settings import Settings, package_version
from app.urls import Target, is_allowed, parse_host_rule, parse_url, redirected

__all__ = ["USER_AGENT", "UrlFetcher", "look_up"]

log = logging.getLogger("app.fetch")

USER_AGENT = f"background-remover-api/{package_version()}"
TOTAL_SECONDS = 30.0
LOOKUP_SECONDS = 5.0
MOST_LOOKUPS = 32
MOST_ADDRESSES = 4
MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What the head of an answer and the framing of its chunks may have, besides the image.
OVERHEAD_BYTES = 1_048_576

Resolve = Callable[[str], Sequence[str]]


def look_up(host: str) -> Sequence[str]:
    """Return the addresses of a host name as texts; raise OSError."""
    # The dot keeps the system from trying its own domains behind the name.
    found = socket.getaddrinfo(f"{host}.", None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class UrlFetcher:
    """Fetch images as ALLOW_URL_FETCH, ALLOWED_URL_HOSTS and MAX_IMAGE_BYTES allow; safe to be used by many threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        resolve: Resolve = look_up,
        is_public: Callable[[IPAddress], bool] = is_public,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._enabled = settings.allow_url_fetch
        self._rules = tuple(map(parse_host_rule, settings.allowed_url_hosts))
        self._most_bytes = settings.max_image_bytes
        self._resolve = resolve
        self._is_public = is_public
        self._make_tls = tls
        self._seconds = seconds
        self._lookups = threading.BoundedSemaphore(MOST_LOOKUPS)

    def fetch(self, url: str, deadline: float) -> bytes:
        """Return what a URL leads to, from 1 to MAX_IMAGE_BYTES bytes that need not be an image.

        `deadline` is a moment of time.monotonic(); `seconds` are the most in any case. Raise UrlRefused for what may
        not be fetched, DownloadFailed for what can't be, FileTooLarge.
        """
        if not self._enabled:
            raise UrlRefused("This server fetches no URLs.", solution="Send the image itself.")
        deadline = min(deadline, time.monotonic() + self._seconds)
        target = parse_url(url)
        for _ in range(1 + MOST_REDIRECTS):
            answer = self._follow(target, deadline)
            if isinstance(answer, bytes):
                log.info("url.fetched host=%s bytes=%d", target.host, len(answer))
                return answer
            target = answer
        raise DownloadFailed(f"The URL redirects more than {MOST_REDIRECTS} times.")

    def _follow(self, target: Target, deadline: float) -> bytes | Target:
        """Return the body, or where a redirect leads."""
        try:
            return self._get(target, deadline)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: what http.client makes of odd numbers
            log.info("url.failed host=%s error=%.200r", target.host, error)
            raise DownloadFailed(_reason(error)) from None

    def _get(self, target: Target, deadline: float) -> bytes | Target:
        addresses = self._addresses(target, deadline)
        with connect(target, addresses, deadline, lambda: self._tls) as connection:
            wire = Wire(connection, deadline, self._most_bytes + OVERHEAD_BYTES)
            response = send_get(wire, target, USER_AGENT)
            location = response.headers.get("Location")
            if response.status in REDIRECTS and location:
                return redirected(target, location)
            return self._body(response)

    def _body(self, response: HTTPResponse) -> bytes:
        if response.status != 200:
            raise DownloadFailed(f"The URL answers with status {response.status}.")
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise DownloadFailed("The URL answers with a compressed body, which was not asked for.")
        if (response.length or 0) > self._most_bytes:
            raise self._too_large()
        body = response.read(self._most_bytes + 1)
        if len(body) > self._most_bytes:
            raise self._too_large()
        if not body or response.length:
            raise DownloadFailed("The URL answers with nothing, or with less than it announced.")
        return body

    def _too_large(self) -> FileTooLarge:
        return FileTooLarge(
            "The image at the URL has too many bytes.", solution=f"Name an image of at most {self._most_bytes} bytes."
        )

    def _addresses(self, target: Target, deadline: float) -> list[IPAddress]:
        """Return the addresses to connect to; raise UrlRefused unless all that the host has are public."""
        if not is_allowed(target, self._rules):
            raise UrlRefused("The URL's host or port is not one that this server fetches from.")
        addresses = self._look_up(target.host, deadline)
        if not addresses or not all(map(self._is_public, addresses)):
            log.info("url.refused host=%s addresses=%s", target.host, ",".join(map(str, addresses)) or "none")
            # One answer for both, so that nobody learns which names a private network knows.
            raise UrlRefused("The URL's host is unknown or not on the public internet.")
        return addresses[:MOST_ADDRESSES]

    def _look_up(self, host: str, deadline: float) -> list[IPAddress]:
        """Return a host's addresses, none where it is unknown; raise TimeoutError.

        A lookup can't be interrupted: it gets a thread of its own, which may outlive the request.
        """
        try:
            return [ip_address(host)]
        except ValueError:
            found: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        if not self._lookups.acquire(timeout=seconds_left(deadline, LOOKUP_SECONDS)):
            raise TimeoutError("too many lookups at once")
        threading.Thread(target=self._look_up_into, args=(found, host), name="lookup", daemon=True).start()
        try:
            return [ip_address(text) for text in found.get(timeout=seconds_left(deadline, LOOKUP_SECONDS))]
        except queue.Empty:
            raise TimeoutError("the lookup took too long") from None

    def _look_up_into(self, found: queue.SimpleQueue[Sequence[str]], host: str) -> None:
        try:
            found.put(self._resolve(host))
        except (OSError, UnicodeError):
            found.put(())
        finally:
            self._lookups.release()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._make_tls()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "The URL's server took too long."
    if isinstance(error, ssl.SSLCertVerificationError):
        return "The certificate of the URL's server is not valid for its host."
    return "The URL's server cannot be reached, or does not speak HTTP as it should."
