"""The endpoints of remove.bg's dialect."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request

from app.errors import NotImplementedHere
from app.fetch.fetcher import Fetcher
from app.http import responses
from app.http.errors import render_below
from app.http.limits import count_megapixels, limited_by, limiter
from app.http.removal import service
from app.http.removebg import bodies
from app.http.removebg.errors import render
from app.http.removebg.parameters import parse
from app.http.removebg.responses import ACCOUNT, answer, wants_json
from app.observability import events

__all__ = ["init_app"]

PREFIX = "/v1.0"
blueprint = Blueprint("removebg", __name__, url_prefix=PREFIX)


def init_app(app: Flask) -> None:
    """Serve this dialect, with its own shape for every error below its prefix."""
    render_below(app, f"{PREFIX}/", render)
    app.register_blueprint(blueprint)


@blueprint.post("/removebg")
@limited_by("rate_limit_megapixels_per_minute")
def remove_background() -> Response:
    """Answer with the photo without its background."""
    settings = service().settings
    with service().turn() as turn:
        with turn.reading():
            carried = bodies.read(request, settings.max_image_bytes)
        wishes = parse(carried.fields, model=settings.model_name, longest_side=settings.max_dimension)
        image, background = bodies.fetched(carried, _fetch, settings.max_image_bytes)
        events.received(len(image))
        result = turn.run(image, wishes.options, background)
    count_megapixels(result.input_size[0] * result.input_size[1])
    response = answer(result, wishes, as_json=wants_json(request.accept_mimetypes))
    return responses.name_ignored(response, wishes.ignored | carried.unknown_files)


@blueprint.get("/account")
@limiter.exempt
def account() -> Response:
    """Answer with a balance that never shrinks."""
    return jsonify(ACCOUNT)


@blueprint.post("/improve")
@limited_by("rate_limit_megapixels_per_minute")
def improve() -> Response:
    """Refuse: there is no model here that learns from photos that are sent in."""
    raise NotImplementedHere()


def _fetch(url: str) -> bytes:
    fetcher = current_app.extensions["fetcher_url"]
    assert isinstance(fetcher, Fetcher)  # noqa: S101  # for the type checker
    return fetcher.fetch(url, g.deadline)
