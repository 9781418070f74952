"""Operations about the service itself: health, metrics, description of the API."""

from __future__ import annotations

from app.errors import Forbidden, InternalError, ServiceError
from app.http.answers import Alive, Health, NotReady, Ready
from app.http.openapi.operations import Answer, Dialect, Operation, native_failures, ref
from app.http.openapi.schemas import model_schemas

__all__ = ["DIALECT"]

SCHEMAS = model_schemas(Health, Alive, Ready, NotReady)


def _json(description: str, schema: str) -> Answer:
    return Answer(description, {"application/json": ref("schemas", schema)})


def _get(
    path: str, name: str, summary: str, answers: dict[int, Answer], *errors: type[ServiceError], description: str = ""
) -> Operation:
    return Operation(
        path=path,
        method="get",
        name=name,
        summary=summary,
        description=description,
        answers=answers | native_failures(*errors, InternalError),
        open=True,
    )


OPERATIONS = (
    _get(
        "/health",
        "health",
        "State of all parts",
        {200: _json("Photos are processed.", "Health"), 503: _json("No photo is processed.", "Health")},
    ),
    _get("/health/live", "live", "Liveness of the web process", {200: _json("The web process answers.", "Alive")}),
    _get(
        "/health/ready",
        "ready",
        "Readiness to process photos",
        {
            200: _json("An engine has completed a test inference.", "Ready"),
            503: _json("Not ready, with the reason.", "NotReady"),
        },
    ),
    _get(
        "/metrics",
        "metrics",
        "Metrics for Prometheus",
        {200: Answer("The metrics of all workers.", {"text/plain": {"type": "string"}})},
        Forbidden,
        description="Only for the addresses in METRICS_ALLOWED_IPS.",
    ),
    _get(
        "/openapi.json",
        "openapi",
        "OpenAPI document",
        {200: Answer("An OpenAPI 3.1 document.", {"application/json": {"type": "object"}})},
    ),
    _get("/docs", "docs", "HTML documentation", {200: Answer("An HTML page.", {"text/html": {"type": "string"}})}),
)

DIALECT = Dialect("service", "State and description of the service.", OPERATIONS, SCHEMAS)
