"""URLs to what is to be connected to, and which hosts and ports that may be.

A URL is parsed once, here, and the connection is made from the result: there is no second reading to differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from app.errors import UrlRefused

__all__ = ["HostRule", "Target", "is_allowed", "parse_host_rule", "parse_url", "redirected"]

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_URL = 8192
# No control characters and spaces, which could end the request's line; no backslash, which browsers take for a slash.
_PLAIN = re.compile(r"[^\x00-\x20\x7f\\]+")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?=[a-z]){_LABEL}", re.ASCII)
_RULE = re.compile(r"(?P<any>\*\.)?(?P<host>\[[^\]]*\]|[^:\[\]*]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
# Left as they are in a path and query: reserved and unreserved characters (RFC 3986), and escapes.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Target:
    """What one request goes to; `host` is in lower case, in ASCII, without brackets or a dot at its end."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """Return the address in full, in its normal form."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Return what the Host header says (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of ALLOWED_URL_HOSTS; `port` None means 80 and 443, `below` that `host` is only the end of the name."""

    host: str
    port: int | None = None
    below: bool = False

    def allows(self, target: Target) -> bool:
        """Tell whether a target is one of those that the entry names."""
        named = target.host.endswith(f".{self.host}") if self.below else target.host == self.host
        return named and (target.port == self.port if self.port else _is_usual_port(target))


def parse_url(url: str) -> Target:
    """Parse an absolute http or https URL; raise UrlRefused that says what is wrong with it."""
    text = url.strip()
    if len(text) > LONGEST_URL:
        raise UrlRefused(f"The URL has more than {LONGEST_URL} characters.")
    if not _PLAIN.fullmatch(text):
        raise UrlRefused("The URL holds spaces, backslashes or control characters, or is empty.")
    try:
        return _target(urlsplit(text))
    except ValueError as error:
        raise UrlRefused("The URL cannot be read.", details=str(error)[:200]) from None


def redirected(target: Target, location: str) -> Target:
    """Return where an answer's Location header leads; raise UrlRefused, also for a way from https back to http."""
    # http.client hands a header's bytes over as latin-1.
    leads_to = parse_url(urljoin(target.url, quote(location.encode("latin-1", "replace"), safe=_SAFE)))
    if (target.scheme, leads_to.scheme) == ("https", "http"):
        raise UrlRefused("The URL leads from https to http.")
    return leads_to


def is_allowed(target: Target, rules: Sequence[HostRule]) -> bool:
    """Tell whether host and port are those of a rule; without rules, whether the port is 80 or 443."""
    return any(rule.allows(target) for rule in rules) if rules else _is_usual_port(target)


def parse_host_rule(text: str) -> HostRule:
    """Parse `host`, `*.host`, `host:port`; raise ValueError."""
    match = _RULE.fullmatch(text)
    port = int(match["port"] or 443) if match else 0
    if match is None or not 1 <= port <= 65_535:
        raise ValueError(f"{text!r} is no host; write img.example, *.example or img.example:8443")
    return HostRule(_host(match["host"].strip("[]")), port if match["port"] else None, below=bool(match["any"]))


def _target(parts: SplitResult) -> Target:
    """Check the parts of a URL; raise UrlRefused, or ValueError for what is no URL."""
    if parts.scheme not in DEFAULT_PORTS:
        raise UrlRefused("The URL begins with neither http:// nor https://.")
    if "@" in parts.netloc:
        raise UrlRefused("The URL holds a user name or password.")
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        raise ValueError("only an IPv6 address stands in brackets")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Target(parts.scheme, _host(parts.hostname or ""), port, path)


def _host(text: str) -> str:
    """Return a host in its one normal form; raise ValueError.

    A name has at least two labels. An IPv4 address is four decimal numbers: not one, not octal, not hexadecimal.
    """
    if ":" in text:
        return str(IPv6Address(text if "%" not in text else ""))  # a zone id is no part of a URL that leads elsewhere
    host = _ascii(text).lower().removesuffix(".")
    if host.rpartition(".")[2][:1].isdigit():
        return str(IPv4Address(host))
    if not _NAME.fullmatch(host):
        raise ValueError(f"{text[:100]!r} is no host name of the internet")
    return host


def _ascii(host: str) -> str:
    """Return an international name as it stands in DNS (UTS 46); digits and dots of other scripts become plain ones."""
    if host.isascii():
        return host
    import idna  # 10 ms and 2 MB, for the few names that need it

    return idna.encode(host, uts46=True).decode("ascii")


def _is_usual_port(target: Target) -> bool:
    return target.port in DEFAULT_PORTS.values()
