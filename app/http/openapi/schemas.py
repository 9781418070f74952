"""JSON schemas of the answers' models, as components of OpenAPI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

__all__ = ["model_schemas"]

REF_TEMPLATE = "#/components/schemas/{model}"


class _Generator(GenerateJsonSchema):
    """Generate no titles, single values as `enum`, and null only for fields that are sent as null."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Omit the default; a field whose default is None is absent from the answer, never null."""
        inner = schema["schema"]
        return self.generate_inner(inner["schema"] if inner["type"] == "nullable" else inner)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if "type" not in inner:  # a reference
            return {"anyOf": [inner, {"type": "null"}]}
        return inner | {"type": [inner["type"], "null"]}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}


def model_schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """Return the schemas of these models and of nested models, by name."""
    _, written = models_json_schema(
        [(model, "serialization") for model in models], ref_template=REF_TEMPLATE, schema_generator=_Generator
    )
    return {
        name: {key: value for key, value in schema.items() if key != "title"}
        for name, schema in written["$defs"].items()
    }
