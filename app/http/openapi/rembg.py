"""Operations of rembg's dialect."""

from __future__ import annotations

from collections.abc import Sequence

from app import errors
from app.http.headers import NATIVE_PICTURE
from app.http.openapi.native import ANYWHERE, BODY, WORK
from app.http.openapi.operations import (
    BINARY,
    Answer,
    Dialect,
    Operation,
    Sample,
    Schema,
    fields_schema,
    native_failures,
    parameter_schemas,
    query_parameters,
    ref,
)
from app.http.rembg import PARAMETERS

__all__ = ["dialect"]

URL: Schema = {"type": "string", "description": "URL of the photo; only with ALLOW_URL_FETCH."}
OF_URL = (errors.MissingImage, errors.InvalidParameter, errors.FileTooLarge, errors.UrlRefused, errors.DownloadFailed)


def dialect(models: Sequence[str]) -> Dialect:
    """Return the dialect for a service with these models."""
    fields = parameter_schemas(PARAMETERS, models)
    picture = Answer("The picture.", {"image/png": BINARY}, NATIVE_PICTURE)
    upload = Operation(
        path="/api/remove",
        method="post",
        name="rembg_remove",
        summary="Remove the background",
        parameters=query_parameters(fields),
        body={"multipart/form-data": ref("schemas", "RembgMultipart")},
        answers={200: picture} | native_failures(*ANYWHERE, *BODY, *WORK),
        sample=Sample(photo="file"),
    )
    by_url = Operation(
        path="/api/remove",
        method="get",
        name="rembg_remove_url",
        summary="Remove the background of a photo at a URL",
        parameters=query_parameters({"url": URL} | fields, "url"),
        answers={200: picture} | native_failures(*ANYWHERE, *OF_URL, *WORK),
        sample=Sample(query="url=https://example.com/photo.jpg"),
    )
    file = BINARY | {"description": "The photo."}
    body = fields_schema({"file": file} | fields, "file")
    return Dialect("rembg", "API of rembg's own server.", (upload, by_url), {"RembgMultipart": body})
