"""Policy of every route: limit, access and CORS, as declared here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from app.http.factory import build_app
from app.http.limits import limiter
from app.settings import Settings
from tests.support.doubles import FakePool

ORIGIN = "https://shop.example"
# A different value for each limit, so that the header identifies the limit.
LIMITS = {
    "rate_limit_remove_bg_per_hour": 101,
    "rate_limit_preview_per_hour": 102,
    "rate_limit_base64_per_hour": 103,
    "rate_limit_read_file_per_hour": 104,
    "rate_limit_megapixels_per_minute": 105,
    "rate_limit_jobs_per_hour": 106,
}


@dataclass(frozen=True)
class Policy:
    """Policy of a route: setting of its limit, access, and whether web pages may call it.

    Access is by `key`, by `address` (METRICS_ALLOWED_IPS), or `open`; `missing_key` is the status without a key.
    """

    limit: str | None
    access: Literal["key", "address", "open"]
    cors: bool
    missing_key: int = 401


POLICIES = {
    "POST /remove-background": Policy("rate_limit_remove_bg_per_hour", "key", cors=True),
    "POST /remove-background-preview": Policy("rate_limit_preview_per_hour", "key", cors=True),
    "POST /remove-background-base64": Policy("rate_limit_base64_per_hour", "key", cors=True),
    "POST /v1.0/removebg": Policy("rate_limit_megapixels_per_minute", "key", cors=True, missing_key=403),
    "POST /v1.0/improve": Policy("rate_limit_megapixels_per_minute", "key", cors=True, missing_key=403),
    "GET /v1.0/account": Policy(None, "key", cors=True, missing_key=403),
    "POST /api/remove": Policy("rate_limit_remove_bg_per_hour", "key", cors=True),
    "GET /api/remove": Policy("rate_limit_remove_bg_per_hour", "key", cors=True),
    "POST /read-file": Policy("rate_limit_read_file_per_hour", "key", cors=True),
    "POST /jobs": Policy("rate_limit_jobs_per_hour", "key", cors=True),
    "GET /jobs": Policy(None, "key", cors=True),
    "GET /jobs/<job_id>": Policy(None, "key", cors=True),
    "DELETE /jobs/<job_id>": Policy(None, "key", cors=True),
    "GET /jobs/<job_id>/events": Policy(None, "key", cors=True),
    "GET /jobs/<job_id>/items/<int:number>": Policy(None, "key", cors=True),
    "GET /jobs/<job_id>/results.zip": Policy(None, "key", cors=True),
    "GET /health": Policy(None, "open", cors=True),
    "GET /health/live": Policy(None, "open", cors=True),
    "GET /health/ready": Policy(None, "open", cors=True),
    "GET /": Policy(None, "open", cors=True),
    "GET /assets/<version>/<name>": Policy(None, "open", cors=True),
    "GET /openapi.json": Policy(None, "open", cors=True),
    "GET /docs": Policy(None, "open", cors=True),
    "GET /docs/<version>/<name>": Policy(None, "open", cors=True),
    "GET /metrics": Policy(None, "address", cors=False),
}


def routes(app: Flask) -> set[str]:
    return {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.fixture
def app() -> Flask:
    """Application with keys, CORS and all limits."""
    settings = Settings(
        api_keys=(SecretStr("secret"),),
        cors_origins=(ORIGIN,),
        rate_limit_exempt=(),
        **LIMITS,  # type: ignore[arg-type]
    )
    return build_app(settings, FakePool().attach)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def script_of_the_page(client: FlaskClient, page: str) -> str:
    (path,) = re.findall(r'src="(/[^"]+/(?:main|docs).js)"', client.get(page).text)
    return str(path)


def ask(client: FlaskClient, route: str, key: str = "") -> TestResponse:
    method, path = route.split(" ")
    path = path.replace("<job_id>", "unknown").replace("<int:number>", "1")
    if "<" in path:
        path = script_of_the_page(client, "/docs" if path.startswith("/docs") else "/")
    headers = {"Origin": ORIGIN} | ({"X-Api-Key": key} if key else {})
    return client.open(path, method=method, headers=headers, buffered=True)


def test_every_route_has_a_policy(app: Flask) -> None:
    assert routes(app) == set(POLICIES)


def without_limit(app: Flask) -> set[str]:
    """Return the endpoints with neither a limit nor an explicit exemption from limits."""
    return {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if not hasattr(app.view_functions[rule.endpoint], "limit_setting")
        and not limiter.limit_manager.exemption_scope(app, rule.endpoint, None)
    }


def test_every_route_is_limited_or_exempt(app: Flask) -> None:
    assert without_limit(app) == set()


def test_a_route_that_is_neither_limited_nor_exempt_is_found(app: Flask) -> None:
    app.add_url_rule("/new", "new", lambda: "")
    assert without_limit(app) == {"new"}


def test_every_limit_in_the_settings_is_used(app: Flask) -> None:
    rates = {name for name in Settings.model_fields if name.endswith(("_per_hour", "_per_minute"))}
    assert {getattr(view, "limit_setting", None) for view in app.view_functions.values()} - {None} == rates


def test_a_new_route_without_a_policy_is_found(app: Flask) -> None:
    app.add_url_rule("/new", "new", lambda: "", methods=["PUT"])
    assert routes(app) - set(POLICIES) == {"PUT /new"}


@pytest.mark.parametrize(("route", "policy"), POLICIES.items())
def test_limit(client: FlaskClient, route: str, policy: Policy) -> None:
    limit = ask(client, route, "secret").headers.get("X-RateLimit-Limit")
    assert limit == (str(LIMITS[policy.limit]) if policy.limit else None)


@pytest.mark.parametrize(("route", "policy"), POLICIES.items())
def test_access_by_key(client: FlaskClient, route: str, policy: Policy) -> None:
    statuses = [ask(client, route, key).status_code for key in ("", "wrong", "secret")]
    assert statuses[:2] == ([policy.missing_key, 403] if policy.access == "key" else [statuses[2]] * 2)
    unknown_job = {404} if "<job_id>" in route else set()
    assert statuses[2] not in {401, 403, 404, 405} - unknown_job


@pytest.mark.parametrize(("route", "policy"), POLICIES.items())
def test_access_by_address(client: FlaskClient, route: str, policy: Policy) -> None:
    method, path = route.split(" ")
    elsewhere = {"REMOTE_ADDR": "203.0.113.7"}
    answer = client.open(path, method=method, headers={"X-Api-Key": "secret"}, environ_base=elsewhere)
    assert (answer.status_code == 403) == (policy.access == "address")


@pytest.mark.parametrize(("route", "policy"), POLICIES.items())
def test_cors(client: FlaskClient, route: str, policy: Policy) -> None:
    method, path = route.split(" ")
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": method}
    answers = [ask(client, route, "secret"), client.options(path, headers=asked)]
    allowed = ORIGIN if policy.cors else None
    assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == [allowed] * 2


@pytest.mark.parametrize("route", POLICIES)
def test_a_preflight_needs_no_key_and_costs_nothing(client: FlaskClient, route: str) -> None:
    path = route.split(" ")[1].replace("<int:number>", "1")
    answer = client.options(path, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert answer.status_code == 200
    assert "X-RateLimit-Limit" not in answer.headers


def test_a_new_route_needs_a_key_by_default(app: Flask) -> None:
    app.add_url_rule("/new", "new", lambda: "")
    assert app.test_client().get("/new").status_code == 401
