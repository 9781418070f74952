"""Parsed URLs, refused URLs, host rules."""

from __future__ import annotations

import pytest

from app.errors import UrlRefused
from app.settings import SettingsError, load_settings
from app.urls import Target, is_allowed, parse_host_rule, parse_url, redirected


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://img.example", Target("http", "img.example", 80, "/")),
        ("HTTPS://IMG.Example/A.jpg?b=c#d", Target("https", "img.example", 443, "/A.jpg?b=c")),
        (" http://img.example/a\n", Target("http", "img.example", 80, "/a")),
        ("http://img.example./a", Target("http", "img.example", 80, "/a")),
        ("http://img.example:8080/", Target("http", "img.example", 8080, "/")),
        ("http://img.example:/", Target("http", "img.example", 80, "/")),
        ("http://img.example?q", Target("http", "img.example", 80, "/?q")),
        ("http://my_bucket.img.example/", Target("http", "my_bucket.img.example", 80, "/")),
        ("http://bücher.example/ü%20ü", Target("http", "xn--bcher-kva.example", 80, "/%C3%BC%20%C3%BC")),
        ("http://img。example/", Target("http", "img.example", 80, "/")),
        ("http://8.8.8.8/", Target("http", "8.8.8.8", 80, "/")),
        ("http://8.8.8.8./", Target("http", "8.8.8.8", 80, "/")),
        ("http://①②⑦.⓪.⓪.①/", Target("http", "127.0.0.1", 80, "/")),
        ("http://[2606:4700:0::1111]:80/", Target("http", "2606:4700::1111", 80, "/")),
        ("http://[::ffff:127.0.0.1]/", Target("http", "::ffff:7f00:1", 80, "/")),
        ("http://img.example/a/../b//c", Target("http", "img.example", 80, "/a/../b//c")),
        ("http://img.example/a@b:c", Target("http", "img.example", 80, "/a@b:c")),
    ],
)
def test_a_url_is_parsed(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "img.example/a.jpg",
        "//img.example/a.jpg",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://img.example/",
        "gopher://img.example/",
        "data:image/png;base64,AAAA",
        "http://",
        "http:///a",
        "http:img.example",
        "http://user@img.example/",
        "http://user:password@img.example/",
        "http://img.example@127.0.0.1/",
        "http://@img.example/",
        "http://img.example\\@127.0.0.1/",
        "http:\\\\img.example\\",
        "http://img.example/a b",
        "http://img.example/a\r\nHost: inside",
        "http://img.example\r\n/",
        "http://img.example/\tb",
        "http://img.example/\x00",
        "http://img.example:0x50/",
        "http://img.example:-1/",
        "http://img.example:99999/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1../",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
        "http://img.example.1/",
        "http://img.0x7f/",
        "http://localhost/",
        "http://redis:80/",
        "http://.example/",
        "http://img..example/",
        "http://img.example../",
        "http://-img.example/",
        "http://img%2eexample/",
        "http://%31%32%37.0.0.1/",
        "http://img.example%00.inside/",
        "http://[::1/",
        "http://[fe80::1%eth0]/",
        "http://[fe80::1%25eth0]/",
        "http://[img.example]/",
        "http://[v1.a]/",
        "http://::1/",
        "http://img.example,inside/",
        "http://ex\u2100mple.example/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 127}example/",
        f"http://img.example/{'a' * 8192}",
    ],
)
def test_an_unsafe_url_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        parse_url(url)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b", "https://img.example/b"),
        ("b?c", "https://img.example/a/b?c"),
        ("//other.example/b", "https://other.example/b"),
        ("https://other.example:8443", "https://other.example:8443/"),
        ("\\\\other.example", "https://img.example/a/%5C%5Cother.example"),
        ("/b c", "https://img.example/b%20c"),
        ("/\xc3\xbc", "https://img.example/%C3%BC"),
    ],
)
def test_a_redirect_is_resolved(location: str, expected: str) -> None:
    assert redirected(parse_url("https://img.example/a/a"), location).url == expected


@pytest.mark.parametrize(
    "location", ["http://img.example/", "file:///etc/passwd", "https://user@img.example/", "https://127.1/", "//a.b:x/"]
)
def test_an_unsafe_redirect_is_refused(location: str) -> None:
    with pytest.raises(UrlRefused):
        redirected(parse_url("https://img.example/a"), location)


@pytest.mark.parametrize(
    ("rules", "url", "allowed"),
    [
        ((), "http://img.example/", True),
        ((), "https://img.example:80/", True),
        ((), "http://img.example:8080/", False),
        ((), "http://img.example:22/", False),
        ((), "http://img.example:0/", False),
        (("img.example",), "http://img.example/", True),
        (("IMG.example.",), "http://Img.Example/", True),
        (("img.example",), "http://img.example:8080/", False),
        (("img.example",), "http://a.img.example/", False),
        (("img.example",), "http://myimg.example/", False),
        (("img.example",), "http://img.example.evil.example/", False),
        (("*.img.example",), "http://a.img.example/", True),
        (("*.img.example",), "http://a.b.img.example/", True),
        (("*.img.example",), "http://img.example/", False),
        (("*.img.example",), "http://myimg.example/", False),
        (("img.example:8080",), "http://img.example:8080/", True),
        (("img.example:8080",), "http://img.example/", False),
        (("a.example", "b.example"), "http://b.example/", True),
        (("bücher.example",), "http://xn--bcher-kva.example/", True),
        (("8.8.8.8",), "http://8.8.8.8/", True),
        (("[2606:4700::1111]:8080",), "http://[2606:4700::1111]:8080/", True),
    ],
)
def test_hosts_and_ports_are_allowed_by_rules(rules: tuple[str, ...], url: str, allowed: bool) -> None:
    assert is_allowed(parse_url(url), tuple(map(parse_host_rule, rules))) == allowed


@pytest.mark.parametrize(
    "text", ["*", "http://img.example", "img.example/a", "localhost", "img.example:0", "a.b:99999"]
)
def test_a_malformed_host_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_host_rule(text)


def test_a_malformed_rule_stops_the_start() -> None:
    with pytest.raises(SettingsError, match=r"ALLOWED_URL_HOSTS='img.example,http://a.example'.*write img.example"):
        load_settings(None, allowed_url_hosts="img.example,http://a.example")
