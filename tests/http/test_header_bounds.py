"""Size of response headers: no request can lengthen them beyond the buffer of a proxy."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.support.header_bounds import MAX_HEADER_BYTES
from tests.support.photos import jpeg

# Limits of gunicorn: a request line of 4094 bytes, header fields of 8190.
LONG_QUERY, LONG_FIELD = 4000, 8000
SHOP = "https://shop.example"
EMOJI = "\N{GRINNING FACE}"
IMAGE = {"method": "POST", "data": jpeg()}

REQUESTS: dict[str, dict[str, Any]] = {
    "unknown fields of emoji": {
        "path": "/remove-background",
        "method": "POST",
        "data": {"file": (BytesIO(jpeg()), "a.jpg")} | {f"{i:02}{EMOJI * 60}": "1" for i in range(20)},
    },
    "unknown fields in the query": {
        "path": "/remove-background",
        "query_string": {f"{i}{EMOJI * 60}": "1" for i in range(5)},
        **IMAGE,
    },
    "many unknown fields": {
        "path": "/api/remove",
        "method": "POST",
        "data": {"file": (BytesIO(jpeg()), "a.jpg")} | {f"{i:0200}": "1" for i in range(900)},
    },
    "two slashes": {"path": "/health//live", "query_string": "a" * LONG_QUERY},
    "two slashes and bytes that are encoded": {"path": "/v1.0//account", "query_string": "ÿ" * LONG_QUERY},
    "a path that does not exist": {"path": "/" + "é" * LONG_QUERY},
    "a preflight that repeats a header": {
        "path": "/remove-background",
        "method": "OPTIONS",
        "headers": {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "accept," * (LONG_FIELD // 7),
        },
    },
    "a long method": {"path": "/health", "method": "A" * LONG_QUERY},
    "a long host": {"path": "/health", "headers": {"Host": "a" * LONG_FIELD}},
    "a long Accept": {"path": "/remove-background?format=auto", "headers": {"Accept": "image/webp," * 700}, **IMAGE},
    "a long id": {"path": "/health", "headers": {"X-Request-ID": "a" * LONG_FIELD}},
    "a long origin": {"path": "/health", "headers": {"Origin": SHOP + "a" * LONG_FIELD}},
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_headers_are_short(request_: dict[str, Any], make_client: Callable[..., FlaskClient]) -> None:
    headers = {"Origin": SHOP} | request_.get("headers", {})
    environ = EnvironBuilder(**request_ | {"headers": headers}).get_environ()
    if environ["QUERY_STRING"].isascii() and "ÿ" in request_.get("query_string", ""):
        environ["QUERY_STRING"] = request_["query_string"]
    client = make_client(cors_origins=SHOP)
    sent = run_wsgi_app(client.application.wsgi_app, environ)[2]
    assert sum(len(f"{name}: {value}\r\n") for name, value in sent) <= MAX_HEADER_BYTES


def test_an_ellipsis_stands_for_ignored_names_that_do_not_fit(fast_client: FlaskClient) -> None:
    query = {f"{i:02}{EMOJI * 10}": "1" for i in range(20)}
    listed = fast_client.post("/remove-background", query_string=query, data=jpeg()).headers["X-Ignored-Params"]
    *names, last = listed.split(", ")
    assert last == "%E2%80%A6" and 5 < len(names) < 20
    assert names[0] == "00" + "%F0%9F%98%80" * 10


def test_a_preflight_names_each_header_once(make_client: Callable[..., FlaskClient]) -> None:
    asked = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "Accept, accept, x-api-key, ACCEPT",
    }
    answer = make_client(cors_origins=SHOP).options("/remove-background", headers=asked)
    assert answer.headers["Access-Control-Allow-Headers"] == "accept, x-api-key"
