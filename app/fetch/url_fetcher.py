"""Requests to untrusted URLs: images are fetched, webhooks sent.

A host name is looked up once, its addresses are checked, and the connection goes to a checked address, never to a new
lookup (protection against DNS rebinding). A host with any address that is not public is refused, since any of them may
be used. Every redirect is checked like a new URL.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address

from app.errors import DownloadFailed, FileTooLarge, UrlRefused
from app.fetch.addresses import IPAddress, is_public
from app.fetch.pinned_connection import Wire, connect, seconds_left, send_request
from app.settings import Settings, package_version
from app.urls import Target, is_allowed, parse_host_rule, parse_url, redirected

__all__ = ["USER_AGENT", "UrlFetcher", "look_up"]

log = logging.getLogger("app.fetch")

USER_AGENT = f"background-remover-api/{package_version()}"
GET_HEADERS = {"User-Agent": USER_AGENT, "Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"}
TOTAL_SECONDS = 30.0
LOOKUP_SECONDS = 5.0
MAX_LOOKUPS = 32
MAX_ADDRESSES = 4
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Bytes allowed for the head of a response and the framing of its chunks, besides the image.
OVERHEAD_BYTES = 1_048_576

Resolve = Callable[[str], Sequence[str]]


def look_up(host: str) -> Sequence[str]:
    """Return the addresses of a host name as strings; raise OSError."""
    # The final dot prevents the system from appending its search domains.
    found = socket.getaddrinfo(f"{host}.", None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class UrlFetcher:
    """Fetcher under the rules of ALLOW_URL_FETCH, ALLOWED_URL_HOSTS and MAX_IMAGE_BYTES; thread-safe."""

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
        self._max_bytes = settings.max_image_bytes
        self._resolve = resolve
        self._is_public = is_public
        self._make_tls = tls
        self._seconds = seconds
        self._lookups = threading.BoundedSemaphore(MAX_LOOKUPS)

    def fetch(self, url: str, deadline: float) -> bytes:
        """Return the body of a URL, 1 to MAX_IMAGE_BYTES bytes of any content.

        `deadline` is in seconds of time.monotonic(); the fetcher's own `seconds` also apply. Raise UrlRefused for a URL
        that is not allowed, DownloadFailed for one that cannot be fetched, FileTooLarge.
        """
        if not self._enabled:
            raise UrlRefused("URL fetch is disabled on this server.", solution="Send the image itself.")
        deadline = min(deadline, time.monotonic() + self._seconds)
        target = parse_url(url)
        for _ in range(1 + MAX_REDIRECTS):
            answer = self._follow(target, deadline)
            if isinstance(answer, bytes):
                log.info("url.fetched host=%s bytes=%d", target.host, len(answer))
                return answer
            target = answer
        raise DownloadFailed(f"The URL redirects more than {MAX_REDIRECTS} times.")

    def post(self, url: str, body: bytes, headers: Mapping[str, str], deadline: float) -> int:
        """Send a POST request to an allowed public address and return the status; a redirect is not followed.

        `deadline` is in seconds of time.monotonic(). ALLOW_URL_FETCH has no effect. Raise UrlRefused for a URL that is
        not allowed, OSError for one that does not answer.
        """
        target = parse_url(url)
        addresses = self._addresses(target, deadline)
        own = {"User-Agent": USER_AGENT, "Content-Length": str(len(body))}
        try:
            with connect(target, addresses, deadline, lambda: self._tls) as connection:
                wire = Wire(connection, deadline, OVERHEAD_BYTES)
                return send_request(wire, target, {**headers, **own}, "POST", body).status
        except (HTTPException, ValueError) as error:
            raise OSError(f"the answer is not valid HTTP: {error!r:.200}") from error

    def _follow(self, target: Target, deadline: float) -> bytes | Target:
        """Return the body, or the target of a redirect."""
        try:
            return self._get(target, deadline)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: from http.client, for malformed numbers
            log.info("url.failed host=%s error=%.200r", target.host, error)
            raise DownloadFailed(_reason(error)) from None

    def _get(self, target: Target, deadline: float) -> bytes | Target:
        addresses = self._addresses(target, deadline)
        with connect(target, addresses, deadline, lambda: self._tls) as connection:
            wire = Wire(connection, deadline, self._max_bytes + OVERHEAD_BYTES)
            response = send_request(wire, target, GET_HEADERS)
            location = response.headers.get("Location")
            if response.status in REDIRECTS and location:
                return redirected(target, location)
            return self._body(response)

    def _body(self, response: HTTPResponse) -> bytes:
        if response.status != 200:
            raise DownloadFailed(f"The URL answers with status {response.status}.")
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise DownloadFailed("The URL answers with a compressed body, which was not requested.")
        if (response.length or 0) > self._max_bytes:
            raise self._too_large()
        body = response.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise self._too_large()
        if not body or response.length:
            raise DownloadFailed("The URL answers with an empty or incomplete body.")
        return body

    def _too_large(self) -> FileTooLarge:
        return FileTooLarge(
            "The image at the URL has too many bytes.", solution=f"Use an image of at most {self._max_bytes} bytes."
        )

    def _addresses(self, target: Target, deadline: float) -> list[IPAddress]:
        """Return the addresses of an allowed host; raise UrlRefused unless all of them are public."""
        if not is_allowed(target, self._rules):
            raise UrlRefused("The URL's host or port is not allowed on this server.")
        addresses = self._look_up(target.host, deadline)
        if not addresses or not all(map(self._is_public, addresses)):
            log.info("url.refused host=%s addresses=%s", target.host, ",".join(map(str, addresses)) or "none")
            # One message for both, so that callers cannot find out the names of a private network.
            raise UrlRefused("The URL's host is unknown or not on the public internet.")
        return addresses[:MAX_ADDRESSES]

    def _look_up(self, host: str, deadline: float) -> list[IPAddress]:
        """Return a host's addresses, none for an unknown host; raise TimeoutError.

        A lookup cannot be interrupted, so it runs in its own thread, which may outlive the request.
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
    return "The URL's server cannot be reached or does not speak valid HTTP."
