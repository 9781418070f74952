"""OpenAPI 3.1 document of this service, by its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.errors import ServiceError, error_codes
from app.http.answers import Error
from app.http.headers import HEADERS
from app.http.openapi import jobs, native, rembg, removebg, service
from app.http.openapi.introduction import introduction
from app.http.openapi.operations import Dialect, Schema
from app.http.openapi.samples import code_samples
from app.http.openapi.schemas import model_schemas
from app.settings import Settings

__all__ = ["describe"]

SECURITY_SCHEMES: Schema = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


def describe(settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> Schema:
    """Return the document of a service with these settings and presets."""
    dialects = (
        native.dialect(settings.allowed_models, presets),
        *([] if settings.jobs_backend == "off" else [jobs.dialect(settings.allowed_models, presets)]),
        removebg.DIALECT,
        rembg.dialect(settings.allowed_models),
        service.DIALECT,
    )
    schemas = {name: schema for dialect in dialects for name, schema in dialect.schemas.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": settings.app_name,
            "version": settings.app_version,
            "description": introduction(settings, presets),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": dialect.name, "description": dialect.description} for dialect in dialects],
        "security": [{name: []} for name in SECURITY_SCHEMES] + ([] if _needs_key(settings) else [{}]),
        "paths": _paths(settings, dialects),
        "components": {
            "schemas": model_schemas(Error) | schemas,
            "headers": {
                header.name: {"description": header.help, "schema": header.schema} for header in HEADERS.values()
            },
            "examples": {code: _example(error) for code, error in error_codes().items()} | removebg.EXAMPLES,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _needs_key(settings: Settings) -> bool:
    return bool(settings.api_keys) or settings.api_keys_file is not None


def _paths(settings: Settings, dialects: Iterable[Dialect]) -> Schema:
    paths: Schema = {}
    server, needs_key = f"http://localhost:{settings.port}", _needs_key(settings)
    for dialect in dialects:
        for operation in dialect.operations:
            samples = {"x-codeSamples": code_samples(operation, server, needs_key)}
            paths.setdefault(operation.path, {})[operation.method] = operation.as_object(dialect.name) | samples
    return paths


def _example(error: type[ServiceError]) -> Schema:
    return {"summary": error.title, "value": Error.of(error(), "5f0c9a52d8e14b6f").model_dump()}
