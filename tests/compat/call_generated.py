"""Call the service through a client generated from its OpenAPI description; print the results.

Run in a separate process: `call_generated.py ADDRESS KEY PHOTO`, with the client's folder in PYTHONPATH.
"""

from __future__ import annotations

import base64
import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from generated import AuthenticatedClient, models  # type: ignore[import-not-found]
from generated.api.native import (  # type: ignore[import-not-found]
    remove_background,
    remove_background_base64,
    remove_background_preview,
)
from generated.api.rembg import rembg_remove  # type: ignore[import-not-found]
from generated.api.remove_bg import removebg, removebg_account  # type: ignore[import-not-found]
from generated.api.service import health  # type: ignore[import-not-found]
from generated.types import File  # type: ignore[import-not-found]


def calls(photo: bytes) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return the calls by name: the function's module and its arguments."""

    def file() -> Any:
        return File(payload=BytesIO(photo), file_name="photo.jpg", mime_type="image/jpeg")

    encoded = base64.b64encode(photo).decode()
    webp, small = models.RemovalMultipartFormat.WEBP, models.RemovalJsonPreset.THUMBNAIL
    return {
        "multipart": (remove_background, {"body": models.RemovalMultipart(file=file(), format_=webp, crop=True)}),
        "raw": (remove_background, {"body": file(), "max_width": 200}),
        "form": (remove_background_preview, {"body": models.RemovalForm(image=encoded)}),
        "json": (remove_background_base64, {"body": models.RemovalJson(image=encoded, preset=small)}),
        "wrong": (remove_background_base64, {"body": models.RemovalJson(image="(no base64)")}),
        "rembg": (rembg_remove, {"body": models.RembgMultipart(file=file(), om=True)}),
        "removebg": (removebg, {"body": models.RemoveBgMultipart(image_file=file(), bg_color="81d4fa")}),
        "account": (removebg_account, {}),
        "health": (health, {}),
    }


def shown(parsed: Any) -> Any:
    """Return the client's result: a file as base64, a model as its fields."""
    return base64.b64encode(parsed.payload.read()).decode() if isinstance(parsed, File) else parsed.to_dict()


def main(address: str, key: str, photo: str) -> None:
    client = AuthenticatedClient(base_url=address, token=key)
    results = {}
    for name, (module, arguments) in calls(Path(photo).read_bytes()).items():
        response = module.sync_detailed(client=client, **arguments)
        results[name] = [int(response.status_code), type(response.parsed).__name__, shown(response.parsed)]
    sys.stdout.write(json.dumps(results))


main(*sys.argv[1:])
