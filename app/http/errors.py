"""Every failure as one JSON shape."""

from __future__ import annotations

import logging

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from app import errors
from app.http.bodies import too_large
from app.observability import request_ids

__all__ = ["init_app", "render"]

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Answer every exception with the JSON shape of a ServiceError."""
    app.register_error_handler(errors.ServiceError, render)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _unexpected)


def render(error: errors.ServiceError) -> Response:
    """Render an error in the native dialect's shape."""
    g.error_code = error.code
    body = {
        "error": error.title,
        "message": error.message,
        "code": error.code,
        "statusCode": error.status,
        "solution": error.advice,
        "details": error.details,
        "request_id": request_ids.current(),
    }
    response = jsonify(body)
    response.status_code = error.status
    if error.retry_after is not None and error.status in {429, 503}:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _from_http(error: HTTPException) -> Response:
    """Translate what Flask and Werkzeug raise; redirects pass through, headers like Allow are kept."""
    original = error.get_response()
    if error.code is None or error.code < 400:
        return Response(original.get_data(), status=error.code, headers=dict(original.headers))
    response = render(_translate(error))
    if "Allow" in original.headers:
        response.headers["Allow"] = original.headers["Allow"]
    return response


def _translate(error: HTTPException) -> errors.ServiceError:
    if error.code == 404:
        return errors.NotFound()
    if error.code == 405:
        return errors.MethodNotAllowed()
    if error.code == 413:
        return too_large(request)
    if error.code is not None and error.code < 500:
        return errors.InvalidParameter("The request cannot be read.", details=error.name)
    return errors.InternalError()


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return render(errors.InternalError())
