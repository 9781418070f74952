"""Operations of the API as data, and their OpenAPI form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import ServiceError
from app.http.headers import RATE_LIMIT, REQUEST_ID, RETRY_AFTER, ResponseHeader
from app.options.parameters import Parameter

__all__ = [
    "BINARY",
    "Answer",
    "Dialect",
    "Operation",
    "Sample",
    "Schema",
    "fields_schema",
    "native_failures",
    "parameter_schemas",
    "query_parameters",
    "ref",
    "with_text",
]

Schema = dict[str, Any]

BINARY: Schema = {"type": "string", "format": "binary"}
RETRY_STATUSES = {429, 503}
REQUEST_ID_PARAMETER: Schema = {
    "name": REQUEST_ID.name,
    "in": "header",
    "description": "Id of the request, chosen by the client; it appears in the log.",
    "schema": REQUEST_ID.schema,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One status of an operation: description, schemas by media type, headers, examples by name."""

    description: str
    content: Mapping[str, Schema]
    headers: tuple[ResponseHeader, ...] = ()
    examples: Mapping[str, Schema] = field(default_factory=dict)

    def as_object(self) -> Schema:
        """Return a Response Object."""
        extra = {"examples": dict(self.examples)} if self.examples else {}
        content = {kind: {"schema": schema} | extra for kind, schema in self.content.items()}
        return {
            "description": self.description,
            "headers": {header.name: ref("headers", header.name) for header in (REQUEST_ID, *self.headers)},
        } | ({"content": content} if content else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Content of an example request: query, and a photo (or several) in a form field, otherwise JSON."""

    query: str = ""
    photo: str = ""
    several: bool = False
    json: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path; `body` has the schema of each accepted media type, `open` means that no key is needed."""

    path: str
    method: str
    name: str
    summary: str
    description: str = ""
    parameters: tuple[Schema, ...] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)
    answers: Mapping[int, Answer]
    open: bool = False
    sample: Sample = Sample()

    def as_object(self, tag: str) -> Schema:
        """Return an Operation Object."""
        written: Schema = {"operationId": self.name, "tags": [tag], "summary": self.summary}
        if self.description:
            written["description"] = self.description
        written["parameters"] = [*self.parameters, REQUEST_ID_PARAMETER]
        if self.body:
            content: Schema = {kind: {"schema": schema} for kind, schema in self.body.items()}
            if self.sample.json:
                content["application/json"]["example"] = dict(self.sample.json)
            written["requestBody"] = {"required": True, "content": content}
        written["responses"] = {str(status): self.answers[status].as_object() for status in sorted(self.answers)}
        if self.open:
            written["security"] = []
        return written


@dataclass(frozen=True, slots=True)
class Dialect:
    """Operations of one dialect, and the schemas that they refer to."""

    name: str
    description: str
    operations: tuple[Operation, ...]
    schemas: Mapping[str, Schema]


def ref(kind: str, name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def with_text(schema: Mapping[str, Any], parameter: Parameter) -> Schema:
    """Return a parameter's schema with a description.

    It has no `default`: generated clients would send it and so override a preset.
    """
    lists_values = bool(schema.keys() & {"enum", "minimum"}) or schema["type"] == "boolean"
    allowed = "" if lists_values else f" Values: {parameter.allowed}."
    return {**schema, "description": f"{parameter.help}{allowed} Default: {parameter.default}."}


def parameter_schemas(parameters: Mapping[str, Parameter], models: Sequence[str]) -> dict[str, Schema]:
    """Return the schemas of a dialect's parameters; the first of `models` is the default."""
    schemas = {name: with_text(parameter.kind.schema, parameter) for name, parameter in parameters.items()}
    description = f"{parameters['model'].help} Default: {models[0]}."
    return schemas | {"model": {"type": "string", "enum": list(models), "description": description}}


def query_parameters(schemas: Mapping[str, Schema], *required: str) -> tuple[Schema, ...]:
    """Return the Parameter Objects for schemas by name."""
    return tuple(_query_parameter(name, schema, name in required) for name, schema in schemas.items())


def _query_parameter(name: str, schema: Schema, required: bool) -> Schema:
    inner = {key: value for key, value in schema.items() if key != "description"}
    written = {"name": name, "in": "query", "description": schema["description"], "schema": inner}
    return written | ({"required": True} if required else {})


def fields_schema(properties: Mapping[str, Schema], *required: str) -> Schema:
    """Return the schema of a form or a JSON object."""
    schema: Schema = {"type": "object", "properties": dict(properties)}
    return schema | ({"required": list(required)} if required else {})


def native_failures(*errors: type[ServiceError]) -> dict[int, Answer]:
    """Return the error answers of an operation of the native dialect, by status."""
    return {status: _failure(status, some) for status, some in _by_status(errors).items()}


def _by_status(errors: Iterable[type[ServiceError]]) -> dict[int, list[type[ServiceError]]]:
    found: dict[int, list[type[ServiceError]]] = {}
    for error in errors:
        found.setdefault(error.status, []).append(error)
    return found


def _failure(status: int, errors: list[type[ServiceError]]) -> Answer:
    return Answer(
        "\n".join(f"`{error.code}`: {error.default_message}" for error in errors),
        {"application/json": ref("schemas", "Error")},
        (*RATE_LIMIT, RETRY_AFTER) if status in RETRY_STATUSES else RATE_LIMIT,
        {error.code: ref("examples", error.code) for error in errors},
    )
