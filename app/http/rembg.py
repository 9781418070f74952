"""rembg's dialect: compatible with clients of rembg's own server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from flask import Blueprint, Response, g, request

from app.engine.models import REGISTRY
from app.errors import MissingImage, MultipleSources, UrlRefused
from app.fetch.url_fetcher import USER_AGENT
from app.http import events, responses
from app.http.admission import Slot, admitted
from app.http.bodies import query_texts, read_parts
from app.http.limits import limited_by
from app.http.services import services
from app.imaging.formats import check_image
from app.options import values
from app.options.parameters import (
    Fields,
    Parameter,
    ParsedRequest,
    by_name,
    model_not_allowed,
    names_without_effect,
    not_one_of,
    parse_fields,
)
from app.removal import RGBA, RemovalOptions, Trimap

__all__ = ["PARAMETERS", "SUPPORT", "blueprint", "parse"]

blueprint = Blueprint("rembg", __name__)

# Models of rembg that send the photo to a cloud service.
CLOUD_MODELS = {"withoutbg", "atlascloud"}
# Spellings of booleans that FastAPI accepts in addition.
LETTERS = {"t": True, "y": True, "f": False, "n": False}
_CHANNELS = re.compile(r" *[0-9]{1,3}(?: *, *[0-9]{1,3}){2,3} *", re.ASCII)


def _flag(text: str) -> bool:
    letter = LETTERS.get(text.strip().lower())
    return values.boolean(text) if letter is None else letter


def _channels(text: str) -> RGBA:
    """Parse r,g,b or r,g,b,a."""
    numbers = [int(number) for number in text.split(",")] if _CHANNELS.fullmatch(text) else [256]
    if max(numbers) > 255:
        raise ValueError("must be r,g,b,a, each from 0 to 255")
    red, green, blue, alpha = [*numbers, 255][:4]
    return red, green, blue, alpha


def _refused(_: str) -> None:
    raise ValueError("must be omitted: only the operator may choose files and services")


flag = values.Kind(_flag, values.boolean.schema)
channels = values.Kind(
    _channels, {"type": "string", "pattern": f"^{_CHANNELS.pattern}$", "examples": ["255,255,255,255"]}
)
refused = values.Kind(_refused, {"type": "string", "maxLength": 0})
level = values.whole_number(0, 255)

PARAMETERS = by_name(
    Parameter(
        "model",
        values.text,
        "a name in MODELS_ALLOWED",
        "MODEL_NAME",
        "Model to use; cloud models are refused.",
        support="partly",
    ),
    Parameter(
        "a", flag, "bool", "false", "Closed-form alpha matting, as refine=matting, with the subject's own colours."
    ),
    Parameter("af", level, "0–255", "240", "With a: mask values above this are subject."),
    Parameter("ab", level, "0–255", "10", "With a: mask values below this are background."),
    Parameter(
        "ae", level, "0–255", "10", "With a: px along the borders of subject and background that are solved too."
    ),
    Parameter("om", flag, "bool", "false", "Answer with the greyscale mask; a, dc and bgc then have no effect."),
    Parameter("ppm", flag, "bool", "false", "Smooth the mask's border, without semi-transparency."),
    Parameter("dc", flag, "bool", "false", "Remove the background's colours along the subject's edge; implied by a."),
    Parameter(
        "vm",
        flag,
        "bool",
        "false",
        "Refine with ViTMatte; not supported.",
        support="ignored",
        idle=frozenset({False}),
    ),
    Parameter("bgc", channels, "r,g,b,a, each 0–255", "none", "Colour behind the subject; in the query or the form."),
    Parameter(
        "extras", refused, "nothing", "none", "Refused, since it names files, keys and services.", support="refused"
    ),
)
# Degree of support for each parameter of rembg's server.
SUPPORT = {"file": "same", "url": "partly"} | {name: parameter.support for name, parameter in PARAMETERS.items()}


@blueprint.post("/api/remove")
@limited_by("rate_limit_remove_bg_per_hour")
def remove_upload() -> Response:
    """Answer with the uploaded photo without its background."""
    with admitted() as slot:
        image, name, texts, unknown_files = _read_upload()
        return _answer(slot, texts, lambda: image, unknown_files, name)


@blueprint.get("/api/remove")
@limited_by("rate_limit_remove_bg_per_hour")
def remove_url() -> Response:
    """Answer with the photo at a URL without its background."""
    with admitted() as slot:
        texts = query_texts(request)
        url = texts.pop("url", "")
        return _answer(slot, texts, lambda: _fetched(url))


def parse(texts: Fields, *, models: tuple[str, ...], longest_side: int) -> ParsedRequest:
    """Parse fields; the first of `models` is the default; raise InvalidParameter for the first invalid one."""
    given = parse_fields(texts, PARAMETERS)
    matting = given.get("a", False) and not given.get("om", False)
    default, model = Trimap(), _model(given.get("model", models[0]), models)
    options = RemovalOptions(
        model=model,
        longest_side=longest_side,
        background=given.get("bgc"),
        mask_only=given.get("om", False),
        refine="matting" if matting else "edges",
        trimap=Trimap(
            given.get("af", default.foreground), given.get("ab", default.background), given.get("ae", default.erode)
        ),
        smooth_mask=given.get("ppm", False),
        keep_colours=not (matting or given.get("dc", False)),
        reference_mask=bool(REGISTRY[model].module),
    )
    return ParsedRequest(options, names_without_effect(texts, given, PARAMETERS))


def _model(name: str, models: tuple[str, ...]) -> str:
    if name in models:
        return name
    if name in CLOUD_MODELS:
        why = f" {name!r} would send the photo to another company."
        raise not_one_of("model", name, models, why=why, solution="Choose another model.")
    raise model_not_allowed(name, models)


def _answer(
    slot: Slot, texts: Fields, image_source: Callable[[], bytes], unknown_files: Iterable[str] = (), name: str = ""
) -> Response:
    """Parse the fields, then fetch and process the image."""
    settings = services().settings
    parsed = parse(texts, models=settings.allowed_models, longest_side=settings.max_dimension)
    image = image_source()
    check_image(image, settings.max_image_bytes)
    events.received(len(image))
    result = slot.submit(image, parsed.options)
    response = responses.image_response(result, parsed.options, len(image), attachment=False, upload_name=name)
    return responses.name_ignored(response, parsed.ignored.union(unknown_files))


def _read_upload() -> tuple[bytes, str, Fields, list[str]]:
    """Return the image, its file name, the fields of form and query (rembg expects `bgc` there), and unknown files."""
    query, parts = query_texts(request), read_parts(request)
    files = [part for name, part in parts.files if name == "file"]
    if len(files) > 1:
        raise MultipleSources(solution="Send exactly one 'file'.")
    if not files:
        raise MissingImage(
            details=parts.received_fields(),
            solution="Send the image as multipart field 'file': with curl, -F file=@photo.jpg.",
        )
    image = files[0].stream.read()
    return image, files[0].filename or "", query | parts.texts, [name for name, _ in parts.files if name != "file"]


def _fetched(url: str) -> bytes:
    if not url:
        raise MissingImage(
            "The query has no 'url'.", solution="Send the image's URL, or POST the image as field 'file'."
        )
    if request.headers.get("User-Agent") == USER_AGENT:  # redirects to this endpoint would loop
        raise UrlRefused("This service does not fetch from itself.")
    return services().url_fetcher.fetch(url, g.deadline)
