"""Operations about the service itself: health, metrics, description of the API."""

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
        summary="State of all parts",
        answers={200: _json("Photos are processed.", "Health"), 503: _json("No photo is processed.", "Health")}
        | _FAILURES,
        open=True,
    ),
    Operation(
        path="/health/live",
        method="get",
        name="live",
        tag=TAG,
        summary="Liveness of the web process",
        answers={200: _json("The web process answers.", "Alive")} | _FAILURES,
        open=True,
    ),
    Operation(
        path="/health/ready",
        method="get",
        name="ready",
        tag=TAG,
        summary="Readiness to process photos",
        answers={
            200: _json("An engine has completed a test inference.", "Ready"),
            503: _json("Not ready, with the reason.", "NotReady"),
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
        summary="OpenAPI document",
        answers={200: Answer("An OpenAPI 3.1 document.", {"application/json": {"type": "object"}})} | _FAILURES,
        open=True,
    ),
    Operation(
        path="/docs",
        method="get",
        name="docs",
        tag=TAG,
        summary="HTML documentation",
        answers={200: Answer("An HTML page.", {"text/html": {"type": "string"}})} | _FAILURES,
        open=True,
    ),
)

DIALECT = Dialect(TAG, "State and description of the service.", OPERATIONS, SCHEMAS)
