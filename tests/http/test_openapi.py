"""OpenAPI document and HTML page: exactly the routes, parameters, errors and headers of the code."""

from __future__ import annotations

import ast
import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from app.errors import error_codes
from app.http import rembg
from app.http.cors import EXPOSED_HEADERS
from app.http.factory import build_app
from app.http.removebg import parameters as removebg
from app.http.removebg.errors import BACKGROUND_CODES, CODES
from app.options.parameters import PARAMETERS
from app.options.presets import BUILT_IN
from app.options.values import Kind
from app.settings import Settings
from tests.support.configuration import NO_LIMITS
from tests.support.doubles import FakePool, failing
from tests.support.photos import jpeg

NATIVE = ("/remove-background", "/remove-background-preview", "/remove-background-base64")
# Errors that no operation of the native dialect has.
ELSEWHERE = {
    "HEADERS_TOO_LARGE",
    "URI_TOO_LONG",
    "METHOD_NOT_ALLOWED",
    "NOT_IMPLEMENTED",
    "ROI_EXCEEDS_BOUNDS",
    "ROI_REGION_EMPTY",
}


@pytest.fixture
def document(fast_client: FlaskClient) -> Any:
    return fast_client.get("/openapi.json").json


def operations(document: Any) -> Iterator[Any]:
    for methods in document["paths"].values():
        yield from methods.values()


def query(operation: Any) -> set[str]:
    return {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}


def body(document: Any, operation: Any, kind: str) -> Any:
    schema = operation["requestBody"]["content"][kind]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def test_the_document_is_valid(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_exactly_the_routes_of_the_api_are_described(document: Any) -> None:
    app = build_app(Settings(), FakePool().attach)
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("page.") and rule.endpoint != "openapi.file"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == routes


def test_operation_ids_are_unique(document: Any) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", NATIVE)
def test_native_parameters_are_described_in_every_place(document: Any, path: str) -> None:
    operation = document["paths"][path]["post"]
    expected = {*PARAMETERS, "preset"}
    assert query(operation) == expected
    properties = {kind: set(body(document, operation, kind).get("properties", {})) for kind in BODIES}
    assert properties == {kind: expected | more if more else set() for kind, more in BODIES.items()}


BODIES: dict[str, set[str]] = {
    "multipart/form-data": {"file", "background_file"},
    "application/json": {"image"},
    "application/x-www-form-urlencoded": {"image"},
    "application/octet-stream": set(),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_native_parameter_is_described_with_its_parser(document: Any, name: str) -> None:
    parameter = PARAMETERS[name]
    (described,) = (each for each in document["paths"][NATIVE[0]]["post"]["parameters"] if each["name"] == name)
    assert parameter.kind.schema.items() <= described["schema"].items()
    assert parameter.help in described["description"]


KINDS = [
    parameter.kind
    for parameters in (PARAMETERS, rembg.PARAMETERS, removebg.PARAMETERS)
    for parameter in parameters.values()
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.schema)[:60])
def test_a_schema_and_its_parser_agree(kind: Kind[Any]) -> None:
    parse, schema = kind.parse, kind.schema
    for good in schema.get("enum", schema.get("examples", [])):
        parse(good)
    if "minimum" in schema:
        assert [parse(str(schema[end])) for end in ("minimum", "maximum")] == [schema["minimum"], schema["maximum"]]
        for bad in (schema["minimum"] - 1, schema["maximum"] + 1):
            with pytest.raises(ValueError):
                parse(str(bad))
    if "pattern" in schema:
        assert all(re.search(schema["pattern"], good) for good in schema["examples"])


def test_every_format_is_described_in_the_json_answer(document: Any) -> None:
    formats = document["components"]["schemas"]["Optimization"]["properties"]["format"]["enum"]
    assert {*formats, "JPG", "AUTO"} == set(PARAMETERS["format"].kind.schema["enum"])


def test_exactly_the_errors_are_described(document: Any) -> None:
    described = {name for name in document["components"]["examples"] if "." not in name}
    assert described == set(error_codes())
    assert document["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == sorted(error_codes())
    named = set(re.findall(r"#/components/examples/(\w+)'", str(document["paths"])))
    assert named == set(error_codes()) - ELSEWHERE


def test_every_error_is_listed_under_its_status(document: Any) -> None:
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            for code in re.findall(r"#/components/examples/(\w+)'", str(answer)):
                assert error_codes()[code].status == int(status)


@pytest.mark.parametrize("code", sorted(error_codes()))
def test_an_example_equals_the_answer(document: Any, fast_client: FlaskClient, fake_pool: FakePool, code: str) -> None:
    example = document["components"]["examples"][code]["value"]
    failing(fake_pool, error_codes()[code]())
    answered: Any = fast_client.post("/remove-background", data=jpeg()).json
    assert example | {"request_id": ""} == answered | {"request_id": ""}


def test_every_parameter_of_removebg_is_described(document: Any) -> None:
    operation = document["paths"]["/v1.0/removebg"]["post"]
    texts = {name for name, parameter in removebg.PARAMETERS.items() if not parameter.is_file}
    assert set(body(document, operation, "multipart/form-data")["properties"]) == set(removebg.PARAMETERS)
    assert set(body(document, operation, "application/json")["properties"]) == texts
    assert set(body(document, operation, "application/x-www-form-urlencoded")["properties"]) == texts


def test_every_parameter_of_rembg_is_described(document: Any) -> None:
    upload, by_url = (document["paths"]["/api/remove"][method] for method in ("post", "get"))
    assert set(body(document, upload, "multipart/form-data")["properties"]) == {"file", *rembg.PARAMETERS}
    assert query(upload) == set(rembg.PARAMETERS)
    assert query(by_url) == {"url", *rembg.PARAMETERS}


def test_every_code_of_removebg_is_described(document: Any) -> None:
    codes = {code for _, code in CODES.values()} | set(BACKGROUND_CODES.values())
    codes |= {parameter.error for parameter in removebg.PARAMETERS.values()}
    described = removebg_codes(document["paths"]["/v1.0/removebg"])
    assert codes - described == set()
    assert removebg_codes(document["paths"]) == removebg_codes(document["components"]["examples"])


def removebg_codes(part: Any) -> set[str]:
    return set(re.findall(r"remove\.bg\.(\w+)'", str(part)))


@pytest.mark.parametrize("code", sorted(error_codes()))
def test_an_example_of_removebg_equals_the_answer(
    document: Any, fast_client: FlaskClient, fake_pool: FakePool, code: str
) -> None:
    failing(fake_pool, error_codes()[code]())
    response = fast_client.post("/v1.0/removebg", data={"image_file": (io.BytesIO(jpeg()), "")})
    answered: Any = response.json
    name = answered["errors"][0]["code"]
    if code not in NOT_OF_REMOVEBG:
        responses = document["paths"]["/v1.0/removebg"]["post"]["responses"]
        assert name in responses[str(response.status_code)]["content"]["application/json"]["examples"]
        example = document["components"]["examples"][f"remove.bg.{name}"]["value"]
        assert name in SHARED or example == answered


# Codes of remove.bg that several native errors share.
SHARED = {"failed_to_read_image", "unknown_foreground", "rate_limit_exceeded", "auth_failed"}
# Errors of other paths, or of unknown paths.
NOT_OF_REMOVEBG = {
    "FORBIDDEN",
    "FORBIDDEN_PATH",
    "HEADERS_TOO_LARGE",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "NOT_IMPLEMENTED",
    "URI_TOO_LONG",
    "IDEMPOTENCY_CONFLICT",
    "JOBS_NOT_LISTED",
    "JOBS_UNAVAILABLE",
    "PHOTO_UNREADABLE",
    "RESULT_NOT_READY",
    "TOO_MANY_PHOTOS",
}


def test_exactly_the_headers_are_described(document: Any) -> None:
    assert set(document["components"]["headers"]) == set(EXPOSED_HEADERS)
    named = {
        name
        for operation in operations(document)
        for each in operation["responses"].values()
        for name in each["headers"]
    }
    assert named == set(EXPOSED_HEADERS)


def test_the_document_follows_the_configuration(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(model_name="lite", models_allowed="u2netp", app_name="Cut-outs", api_keys=("secret",))
    document: Any = client.get("/openapi.json").json
    fields = document["components"]["schemas"]["RemovalJson"]["properties"]
    assert fields["model"]["enum"] == ["lite", "u2netp"]
    assert "id-photo" in fields["preset"]["enum"]
    assert document["info"]["title"] == "Cut-outs"
    assert document["security"] == [{"ApiKey": []}, {"Bearer": []}]


def test_keys_are_optional_without_api_keys(document: Any) -> None:
    assert {} in document["security"]


def test_exactly_the_public_operations_need_no_key(document: Any) -> None:
    open_paths = {
        path for path, methods in document["paths"].items() for each in methods.values() if "security" in each
    }
    client = build_app(Settings(**NO_LIMITS | {"api_keys": ("secret",)}), FakePool().attach).test_client()
    asked = {(path, method) for path, methods in document["paths"].items() for method in methods}
    answered = {path for path, method in asked if ask(client, path, method).status_code not in {401, 403}}
    assert open_paths == answered


def ask(client: FlaskClient, path: str, method: str) -> TestResponse:
    """Send a request without a body, for the first photo where a path names one."""
    return client.open(path.replace("{number}", "1"), method=method)


def test_the_introduction_has_the_limits_and_presets_of_this_server(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    presets = tmp_path / "presets.json"
    presets.write_text('{"a|b": {"format": "WEBP", "quality": 51}}')
    client = make_client(max_dimension=1234, rate_limit_preview_per_hour=77, presets_file=presets)
    document: Any = client.get("/openapi.json").json
    text = document["info"]["description"]
    assert "1234 px" in text
    assert "77 requests per client and hour" in text
    assert r"| `a\|b` | `format=WEBP`, `quality=51` |" in text
    for name, fields in BUILT_IN.items():
        (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
        assert row == ", ".join(f"`{key}={value}`" for key, value in fields.items())


def test_every_operation_that_can_succeed_has_samples(document: Any) -> None:
    for operation in operations(document):
        labels = [sample["label"] for sample in operation["x-codeSamples"]]
        succeeds = any(status.startswith("2") for status in operation["responses"])
        assert labels == (["curl", "Python", "JavaScript"] if succeeds else [])


def test_samples_name_the_field_of_the_photo(document: Any) -> None:
    uploads = [each for each in operations(document) if "multipart/form-data" in str(each.get("requestBody"))]
    assert uploads
    for operation in uploads:
        (field,) = set(re.findall(r"-F (\w+)=@", operation["x-codeSamples"][0]["source"]))
        described = body(document, operation, "multipart/form-data")["properties"][field]
        assert described.get("items", described)["format"] == "binary"


def test_samples_in_javascript_send_a_form_without_a_content_type(document: Any) -> None:
    samples = [sample["source"] for each in operations(document) for sample in each["x-codeSamples"]]
    forms = [source for source in samples if "new FormData" in source]
    assert forms
    assert not any("Content-Type" in source for source in forms)


def test_python_samples_are_valid(document: Any) -> None:
    sources = [sample["source"] for each in operations(document) for sample in each["x-codeSamples"]]
    samples = [source for source in sources if source.startswith("import requests")]
    assert samples
    for source in samples:
        ast.parse(source)


def test_samples_send_a_key_exactly_where_one_is_needed(make_client: Callable[..., FlaskClient]) -> None:
    document: Any = make_client(api_keys=("s3cret",)).get("/openapi.json").json
    for operation in operations(document):
        for sample in operation["x-codeSamples"]:
            assert ("X-Api-Key" in sample["source"]) == ("security" not in operation)
    assert "s3cret" not in str(document)


def test_the_page_loads_only_scripts_of_this_server(fast_client: FlaskClient) -> None:
    answer = fast_client.get("/docs")
    assert answer.mimetype == "text/html"
    assert not re.search(r"<script(?![^>]* src=)|<img|<iframe|<style|\son\w+=|\sstyle=|https?://", answer.text)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_every_file_of_the_page_is_served_for_ever(fast_client: FlaskClient) -> None:
    paths = re.findall(r'(?:src|href)="(/docs/[^"]+)"', fast_client.get("/docs").text)
    assert {path.rpartition("/")[2] for path in paths} == FILES
    for path in paths:
        with fast_client.get(path) as answer:
            assert answer.status_code == 200
            assert len(answer.data) > 100
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.mimetype in {"text/javascript", "text/css", "image/png"}


FILES = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "docs.js", "docs.css"}


def test_the_script_of_swagger_ui_is_compressed(fast_client: FlaskClient) -> None:
    (path,) = re.findall(r'src="(/docs/[^"]+/swagger-ui-bundle.js)"', fast_client.get("/docs").text)

    plain = fast_client.get(path, headers={"Accept-Encoding": "identity"}).data
    answer = fast_client.get(path, headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(answer.data) < len(plain) / 3
    assert gzip.decompress(answer.data) == plain


@pytest.mark.parametrize("name", ["LICENSE", "oauth2-redirect.html", "..%2Fpages.py", "../pages.py"])
def test_other_files_are_not_served(fast_client: FlaskClient, name: str) -> None:
    (script,) = re.findall(r'src="(/docs/[^"]+/docs.js)"', fast_client.get("/docs").text)
    assert fast_client.get(script.replace("docs.js", name)).status_code == 404
    assert fast_client.get("/docs/1/docs.js").status_code == 404


@pytest.mark.parametrize("web_page", [True, False])
def test_the_page_links_to_the_web_page_where_it_is_on(make_client: Callable[..., FlaskClient], web_page: bool) -> None:
    assert ('href="/"' in make_client(web_page=web_page).get("/docs").text) == web_page


def test_the_page_escapes_settings(make_client: Callable[..., FlaskClient]) -> None:
    assert "<b>x</b>" not in make_client(app_name="<b>x</b>").get("/docs").text
