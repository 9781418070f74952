"""JSON answers: order of keys, models and derived schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from flask.testing import FlaskClient

from app.errors import EngineCrashed
from app.http.answers import Alive, EncodedImage, Error, Health, JsonModel, KeptFile, NotReady, Ready, json_response
from app.http.openapi.schemas import model_schemas
from app.http.removebg.errors import RemoveBgErrors
from app.http.removebg.responses import RemoveBgAccount, RemoveBgResult
from tests.support.doubles import STATUS, FakePool, failing
from tests.support.photos import encoded, jpeg, photo

BASE64 = "/remove-background-base64"
ENCODED = "success image mimetype size optimization foreground confidence model request_id".split()
ORIGINAL = "success fallback image mimetype size request_id".split()
ERROR = "error message code statusCode solution details request_id".split()
HEALTH = "status reason checks memory disk model provider queue uptime_s name version".split()


@pytest.fixture
def client(make_client: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    (tmp_path / "kept.png").write_bytes(encoded(photo("cat").resize((32, 32))))
    return make_client(output_dir=tmp_path)


@pytest.mark.parametrize(
    ("method", "path", "sent", "model", "keys"),
    [
        ("post", BASE64, {"data": jpeg()}, EncodedImage, ENCODED),
        ("post", BASE64, {"data": b""}, Error, ERROR),
        ("post", "/read-file", {"json": {"path": "kept.png"}}, KeptFile, KeptFile.model_fields),
        ("get", "/health", {}, Health, HEALTH),
        ("get", "/health/live", {}, Alive, ["status"]),
        ("get", "/health/ready", {}, Ready, ["status"]),
        ("get", "/v1.0/account", {}, RemoveBgAccount, ["data"]),
        ("post", "/v1.0/improve", {}, RemoveBgErrors, ["errors"]),
    ],
)
def test_an_answer_matches_its_model(
    client: FlaskClient, method: str, path: str, sent: dict[str, Any], model: type[JsonModel], keys: list[str]
) -> None:
    response = client.open(path, method=method, **sent)
    model.model_validate_json(response.data, strict=True, extra="forbid")
    assert response.headers["Content-Type"] == "application/json"
    assert list(json.loads(response.data)) == list(keys)


def test_a_result_of_removebg_matches_its_model(client: FlaskClient) -> None:
    body = {"image_file_b64": "/9j/"}
    response = client.post("/v1.0/removebg", data=body, headers={"Accept": "application/json"})
    result = RemoveBgResult.model_validate_json(response.data, strict=True, extra="forbid")
    assert list(json.loads(response.data)["data"]) == list(type(result.data).model_fields)


def test_an_original_matches_its_model(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, EngineCrashed())
    response = client.post(BASE64 + "?on_error=original", data=jpeg())
    EncodedImage.model_validate_json(response.data, strict=True, extra="forbid")
    assert list(json.loads(response.data)) == ORIGINAL


def test_not_ready_matches_its_model(client: FlaskClient, fake_pool: FakePool) -> None:
    fake_pool.answer = replace(STATUS, ready=0)
    response = client.get("/health/ready")
    NotReady.model_validate_json(response.data, strict=True, extra="forbid")
    assert response.status_code == 503


def test_checks_of_parts_not_in_use_are_null(client: FlaskClient) -> None:
    health: Any = client.get("/health").json
    assert (health["checks"]["redis"], health["checks"]["disk_space"]) == (None, True)


@pytest.mark.parametrize("text", ["\ud800", "\udfff\ud800", "é\x00\u2028"])
@pytest.mark.parametrize("path", ["/remove-background", "/v1.0/removebg", "/read-file"])
@pytest.mark.parametrize("field", ["format", "path", "", "model"])
def test_an_error_about_any_text_is_json(client: FlaskClient, path: str, field: str, text: str) -> None:
    body = {field or text: text, "image": "AAAA", "image_file_b64": "AAAA"}
    response = client.post(path, data=json.dumps(body), content_type="application/json")
    assert 400 <= response.status_code < 500
    assert json.loads(response.data)


class Inner(JsonModel):
    """A part of another model."""

    width: int


class Sample(JsonModel):
    """A model with a field of each kind."""

    kind: Literal["only"]
    inner: Inner | None = None
    absent: str | None = None
    null: bool | None


def test_a_schema_has_null_only_for_fields_sent_as_null() -> None:
    assert model_schemas(Sample) == {
        "Inner": {
            "type": "object",
            "description": "A part of another model.",
            "properties": {"width": {"type": "integer"}},
            "required": ["width"],
        },
        "Sample": {
            "type": "object",
            "description": "A model with a field of each kind.",
            "properties": {
                "kind": {"type": "string", "enum": ["only"]},
                "inner": {"$ref": "#/components/schemas/Inner"},
                "absent": {"type": "string"},
                "null": {"type": ["boolean", "null"]},
            },
            "required": ["kind", "null"],
        },
    }


def test_none_is_omitted_unless_requested() -> None:
    sample = Sample(kind="only", null=None)
    assert json_response(sample).json == {"kind": "only"}
    assert json_response(sample, exclude_none=False).json == {
        "kind": "only",
        "inner": None,
        "absent": None,
        "null": None,
    }
