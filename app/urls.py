"""Parser of URLs to fetch, rules of allowed hosts and ports, origins of web pages, and forms of REDIS_URL.

A URL is parsed only here, and the connection is made from the result: no second parser can read it differently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from app.errors import UrlRefused

__all__ = [
    "HostRule",
    "Target",
    "is_allowed",
    "parse_host_rule",
    "parse_origin",
    "parse_url",
    "plain_redis_url",
    "redirected",
]

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_LENGTH = 8192
# No control characters and spaces, which could end the request line; no backslash, which browsers read as a slash.
_PLAIN = re.compile(r"[^\x00-\x20\x7f\\]+")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?=[a-z]){_LABEL}", re.ASCII)
_RULE = re.compile(r"(?P<any>\*\.)?(?P<host>\[[^\]]*\]|[^:\[\]*]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
# The second part is for pages of programs (app://. is Electron's); in Firefox an extension's id differs by computer.
_ORIGIN = re.compile(
    r"(?P<scheme>https?|chrome-extension|moz-extension|safari-web-extension)://"
    r"(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"|(?:capacitor|ionic|tauri|app)://[a-z0-9_.-]+|moz-extension://\*|null",
    re.ASCII,
)
# Not escaped in path and query: reserved and unreserved characters (RFC 3986), and existing escapes.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Target:
    """Target of one request; `host` is lower-case ASCII without brackets or a final dot."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """Return the normalized URL."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Return the value of the Host header (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostRule:
    """Entry of ALLOWED_URL_HOSTS; `port` None means 80 and 443, `subdomains` means names that end in `host`."""

    host: str
    port: int | None = None
    subdomains: bool = False

    def allows(self, target: Target) -> bool:
        """Return whether the entry allows a target."""
        matches = target.host.endswith(f".{self.host}") if self.subdomains else target.host == self.host
        return matches and (target.port == self.port if self.port else _is_default_port(target))


def parse_url(url: str) -> Target:
    """Parse an absolute http or https URL; raise UrlRefused with the reason."""
    text = url.strip()
    if len(text) > MAX_URL_LENGTH:
        raise UrlRefused(f"The URL has more than {MAX_URL_LENGTH} characters.")
    if not _PLAIN.fullmatch(text):
        raise UrlRefused("The URL is empty or contains spaces, backslashes or control characters.")
    try:
        return _target(urlsplit(text))
    except ValueError as error:
        raise UrlRefused("The URL is malformed.", details=str(error)[:200]) from None


def redirected(target: Target, location: str) -> Target:
    """Return the target of a Location header; raise UrlRefused, also for a redirect from https to http."""
    # http.client decodes headers as Latin-1.
    new_target = parse_url(urljoin(target.url, quote(location.encode("latin-1", "replace"), safe=_SAFE)))
    if (target.scheme, new_target.scheme) == ("https", "http"):
        raise UrlRefused("The URL redirects from https to http.")
    return new_target


def is_allowed(target: Target, rules: Sequence[HostRule]) -> bool:
    """Return whether any rule allows a target; without rules, whether its port is 80 or 443."""
    return any(rule.allows(target) for rule in rules) if rules else _is_default_port(target)


def parse_host_rule(text: str) -> HostRule:
    """Parse `host`, `*.host`, `host:port`; raise ValueError."""
    match = _RULE.fullmatch(text)
    port = int(match["port"] or 443) if match else 0
    if match is None or not 1 <= port <= 65_535:
        raise ValueError(f"{text!r} is not a host; write img.example, *.example or img.example:8443")
    return HostRule(_host(match["host"].strip("[]")), port if match["port"] else None, subdomains=bool(match["any"]))


def parse_origin(text: str) -> str:
    """Return an origin in the form of browsers (RFC 6454, 6.2), `moz-extension://*` or `null`; raise ValueError."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None or not 1 <= int(match["port"] or 1) <= 65_535:
        raise ValueError(
            f"{text!r} is not an origin; use scheme://host[:port] without a path, like https://shop.example, "
            "chrome-extension://<id>, moz-extension://*, safari-web-extension://<id>, capacitor://localhost, or null"
        )
    scheme, host, port = match["scheme"], match["host"], int(match["port"] or 0)
    if scheme is None:
        return match[0]
    return f"{scheme}://{host}" if port in {0, DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


def _target(parts: SplitResult) -> Target:
    """Check the parts of a URL; raise UrlRefused, or ValueError for a malformed URL."""
    if parts.scheme not in DEFAULT_PORTS:
        raise UrlRefused("The URL must begin with http:// or https://.")
    if "@" in parts.netloc:
        raise UrlRefused("The URL must not contain a user name or password.")
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        raise ValueError("only an IPv6 address may be in brackets")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Target(parts.scheme, _host(parts.hostname or ""), port, path)


def _host(text: str) -> str:
    """Return a host in its normal form; raise ValueError.

    A name has at least two labels. An IPv4 address is four decimal numbers: not one, not octal, not hexadecimal.
    """
    if ":" in text:
        return str(IPv6Address(text if "%" not in text else ""))  # a zone id is only valid on the local machine
    host = _ascii(text).lower().removesuffix(".")
    if host.rpartition(".")[2][:1].isdigit():
        return str(IPv4Address(host))
    if not _NAME.fullmatch(host):
        raise ValueError(f"{text[:100]!r} is not a public host name")
    return host


def _ascii(host: str) -> str:
    """Return the ASCII form of an internationalized name (UTS 46); digits and dots of other scripts become ASCII."""
    if host.isascii():
        return host
    import idna  # takes 10 ms and 2 MB, and few names need it

    return idna.encode(host, uts46=True).decode("ascii")


def _is_default_port(target: Target) -> bool:
    return target.port in DEFAULT_PORTS.values()


def plain_redis_url(url: str) -> str:
    """Return a REDIS_URL for the client of Redis; Flask-Limiter's storage has another scheme for Unix sockets."""
    return url.replace("redis+unix://", "unix://", 1)
