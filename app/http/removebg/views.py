"""Endpoints of remove.bg's dialect."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from app.errors import NotImplementedHere
from app.http import events, responses
from app.http.accept import accepted_types
from app.http.admission import admitted
from app.http.answers import json_response
from app.http.limits import count_megapixels, limited_by, limiter
from app.http.removebg import bodies
from app.http.removebg.errors import render
from app.http.removebg.parameters import parse
from app.http.removebg.responses import ACCOUNT, answer, wants_json
from app.http.services import services

__all__ = ["PREFIX", "blueprint", "render"]

PREFIX = "/v1.0"
blueprint = Blueprint("removebg", __name__, url_prefix=PREFIX)


@blueprint.post("/removebg")
@limited_by("rate_limit_megapixels_per_minute")
def remove_background() -> Response:
    """Answer with the photo without its background."""
    settings = services().settings
    with admitted() as slot:
        carried = bodies.read(request, settings.max_image_bytes)
        parsed = parse(carried.fields, model=settings.model_name, longest_side=settings.max_dimension)
        image, background = bodies.fetched(carried, _fetch, settings.max_image_bytes)
        events.received(len(image))
        result = slot.submit(image, parsed.options, background)
    count_megapixels(result.input_size[0] * result.input_size[1])
    response = answer(result, parsed, as_json=wants_json(accepted_types(request)))
    return responses.name_ignored(response, parsed.ignored | carried.unknown_files)


@blueprint.get("/account")
@limiter.exempt
def account() -> Response:
    """Answer with a constant balance."""
    return json_response(ACCOUNT)


@blueprint.post("/improve")
@limited_by("rate_limit_megapixels_per_minute")
def improve() -> Response:
    """Refuse: uploaded photos are not used for training."""
    raise NotImplementedHere()


def _fetch(url: str) -> bytes:
    return services().url_fetcher.fetch(url, g.deadline)
