"""The operations that are about the service itself: its health, its metrics, its description."""

from __future__ import annotations

from app.errors import Forbidden, InternalError
from app.http.answers import Alive, Health, NotReady, Ready
from app.http.openapi.operations import Answer, Dialect, Operation, native_failures, ref
from app.http.openapi.schemas import model_schemas

__all__ = ["DIALECT"]

TAG = "service"
SCHEMAS = model_schemas(Health, Alive, Ready, NotReady)
_FAILURES = native_failures(InternalError)


def _json(description: str, schema: str) -> Answer:
    return Answer(description, {"application/json": ref("schemas", schema)})


OPERATIONS = (
    Operation(
        path="/health",
        method="get",
        name="health",
        tag=TAG,
        summary="State of everything",
        answers={200: _json("Photos are answered.", "Health"), 503: _json("No photo is answered.", "Health")}
        | _FAILURES,
        open=True,
    ),
    Operation(
        path="/health/live",
        method="get",
        name="live",
        tag=TAG,
        summary="Whether the web process answers",
        answers={200: _json("It does.", "Alive")} | _FAILURES,
        open=True,
    ),
    Operation(
        path="/health/ready",
        method="get",
        name="ready",
        tag=TAG,
        summary="Whether photos can be worked on",
        answers={
            200: _json("A real inference has succeeded.", "Ready"),
            503: _json("Not now, with the reason.", "NotReady"),
        }
        | _FAILURES,
        open=True,
    ),
    Operation(
        path="/metrics",
        method="get",
        name="metrics",
        tag=TAG,
        summary="Metrics for Prometheus",
        description="Only for the addresses in METRICS_ALLOWED_IPS.",
        answers={200: Answer("The metrics of all workers.", {"text/plain": {"type": "string"}})}
        | native_failures(Forbidden, InternalError),
        open=True,
    ),
    Operation(
        path="/openapi.json",
        method="get",
        name="openapi",
        tag=TAG,
        summary="This description, for programs",
        answers={200: Answer("An OpenAPI 3.1 document.", {"application/json": {"type": "object"}})} | _FAILURES,
        open=True,
    ),
    Operation(
        path="/docs",
        method="get",
        name="docs",
        tag=TAG,
        summary="This description, for people",
        answers={200: Answer("A page.", {"text/html": {"type": "string"}})} | _FAILURES,
        open=True,
    ),
)

DIALECT = Dialect(TAG, "About the service itself.", OPERATIONS, SCHEMAS)
