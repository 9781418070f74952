"""Parameters of requests: declaration in every dialect, table of the native dialect, and parsing.

A native parameter is declared once, in PARAMETERS. Its value is passed to the field of the same name in
`NativeRequest` if there is one, else in `RemovalOptions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from app.engine.models import REGISTRY
from app.errors import InvalidParameter
from app.imaging.canvas import MAX_PIXELS
from app.imaging.geometry import fit_within
from app.options import values
from app.removal import Blur, Canvas, Gradient, RemovalOptions

__all__ = [
    "PARAMETERS",
    "WEB_OPTIONS",
    "Fields",
    "NativeRequest",
    "Parameter",
    "ParsedRequest",
    "by_name",
    "model_not_allowed",
    "names_without_effect",
    "not_one_of",
    "parse_fields",
    "parse_native",
]

Fields = Mapping[str, str]
Support = Literal["same", "partly", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a dialect: parser; values, default and effect in words.

    The other fields are for dialects of other services: `error` is remove.bg's code for an invalid value, `support` is
    the degree of support here, `idle` lists the values without effect in the other service either.
    """

    name: str
    kind: values.Kind[Any]
    allowed: str
    default: str
    help: str
    error: str = "invalid_parameter"
    support: Support = "same"
    idle: frozenset[Any] = frozenset()
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """Parsed parameters of a request: options for the engine, and names of parameters without effect."""

    options: RemovalOptions
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NativeRequest(ParsedRequest):
    """A request of the native dialect: options for the engine, and options of the web process."""

    on_error: Literal["fail", "original"] = "fail"
    save: bool = False


def by_name(*parameters: Parameter) -> dict[str, Parameter]:
    """Return parameters as a table by name."""
    return {parameter.name: parameter for parameter in parameters}


PARAMETERS = by_name(
    Parameter(
        "format",
        values.choice("PNG", "JPEG", "WEBP", "AVIF", "ZIP", "AUTO", also={"JPG": "JPEG"}),
        "PNG, JPEG (JPG), WEBP, AVIF, ZIP, AUTO",
        "PNG",
        "Output format; ZIP contains color.jpg and alpha.png; AUTO follows the Accept header.",
    ),
    Parameter(
        "quality",
        values.whole_number(10, 100),
        "10–100",
        "85",
        "JPEG, WEBP and AVIF quality; for PNG the compression effort, and below 60 a palette of 256 colours.",
    ),
    Parameter(
        "max_width",
        values.whole_number(100, 4000),
        "100–4000",
        "none",
        "Maximum width of the answer, px; aspect ratio kept, never upscaled.",
    ),
    Parameter(
        "max_height",
        values.whole_number(100, 4000),
        "100–4000",
        "none",
        "Maximum height of the answer, px; aspect ratio kept, never upscaled.",
    ),
    Parameter(
        "full_size",
        values.boolean,
        "bool",
        "false; true with a bound over MAX_DIMENSION",
        "Answer in the photo's size, beyond MAX_DIMENSION as far as memory allows; not at the preview endpoint.",
    ),
    Parameter(
        "background",
        values.background,
        "#rgb[a], #rrggbb[aa], a CSS colour name, transparent, blur[:1–100], gradient:COLOUR,COLOUR[,0–360]",
        "transparent; JPEG: white",
        "Colour behind the subject; blur: the photo's own background; gradient: two colours and an angle as in CSS.",
    ),
    Parameter("model", values.text, "a name in MODELS_ALLOWED", "MODEL_NAME", "Model to use."),
    Parameter("mask_only", values.boolean, "bool", "false", "Answer with the greyscale mask instead of the picture."),
    Parameter("crop", values.boolean, "bool", "false", "Crop to the subject."),
    Parameter(
        "crop_margin",
        values.margins,
        "1, 2 or 4 of NNpx (to 500px) or NN% (to 50%)",
        "0",
        "Margin around the subject with crop; % of the subject's box; never beyond the photo.",
    ),
    Parameter(
        "portrait",
        values.boolean,
        "bool",
        "false",
        "With crop: of a subject more than 1.8 times as high as wide only the upper part, as high as wide.",
    ),
    Parameter(
        "canvas",
        values.canvas,
        "WxH, each 100–4000",
        "none",
        "Exact size of the answer, px; the photo, or the crop, is scaled up or down to fit into it.",
    ),
    Parameter(
        "scale",
        values.scale,
        "10%–100%, original",
        "original; with canvas: fit",
        "Size of the subject relative to the answer's width or height, whichever limits first; centred by default.",
    ),
    Parameter(
        "position",
        values.position,
        "original, center, x%, x% y%",
        "original; with scale or canvas: center",
        "Position of the subject, with canvas alone of the photo: 0% is left and top, 100% right and bottom.",
    ),
    Parameter(
        "refine",
        values.choice("none", "edges", "matting"),
        "none, edges, matting",
        "edges",
        "edges: sharpen the mask and clean the colours along it; matting: alpha for hair and fur, takes seconds.",
    ),
    Parameter(
        "on_error",
        values.choice("fail", "original"),
        "fail, original",
        "fail",
        "original: on lack of memory, timeout or engine crash, return the uploaded image unchanged, with X-Fallback; "
        "**its metadata (EXIF, GPS) is still in it**.",
    ),
    Parameter(
        "require_foreground",
        values.boolean,
        "bool",
        "false",
        "Answer 422 UNKNOWN_FOREGROUND if the model finds no subject, or it is not visible.",
    ),
    Parameter(
        "save", values.boolean, "bool", "false", "Also store the result in OUTPUT_DIR, under the name in X-Saved-As."
    ),
)

# Parameters that the web process handles for a single photo, so that they have no effect in batches; all others are
# options of the engine.
WEB_OPTIONS = frozenset(field.name for field in fields(NativeRequest)) & PARAMETERS.keys()


def parse_native(
    texts: Fields, *, models: tuple[str, ...], longest_side: int, accepted_format: str, preview: bool = False
) -> NativeRequest:
    """Parse native fields; the first of `models` is the default, `accepted_format` replaces AUTO.

    A `preview` never exceeds `longest_side`.
    """
    parsed = parse_fields(texts, PARAMETERS)
    ignored = names_without_effect(texts, parsed, PARAMETERS)
    if parsed.get("format") == "AUTO":
        parsed["format"] = accepted_format
    if parsed.setdefault("model", models[0]) not in models:
        raise model_not_allowed(parsed["model"], models)
    web_options = {name: parsed.pop(name) for name in WEB_OPTIONS & set(parsed)}
    if preview:
        ignored |= {"full_size"} if parsed.pop("full_size", False) else set()
    elif "canvas" in parsed or max(parsed.get("max_width", 0), parsed.get("max_height", 0)) > longest_side:
        parsed.setdefault("full_size", True)
    if isinstance(parsed.get("background"), Blur | Gradient):
        parsed["backdrop"] = parsed.pop("background")
    parsed["canvas"] = _canvas(parsed, longest_side if preview else None)
    return NativeRequest(RemovalOptions(longest_side=longest_side, clean_mask=True, **parsed), ignored, **web_options)


def _canvas(parsed: dict[str, Any], longest_side: int | None) -> Canvas | None:
    """Take the parameters of the canvas and return it, with sides of at most `longest_side`; None for none."""
    size, scale, position = (parsed.pop(name, None) for name in ("canvas", "scale", "position"))
    if not (size or scale or position):
        return None
    if size:
        size = fit_within(size, longest_side, longest_side)
    return Canvas(MAX_PIXELS, scale=scale, position=position or (values.CENTRE if scale else None), size=size)


def parse_fields(texts: Fields, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parse the known fields of a dialect; raise InvalidParameter for the first invalid one."""
    return {name: _parsed(name, parameters[name].kind, text) for name, text in texts.items() if name in parameters}


def names_without_effect(
    texts: Fields, parsed: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> frozenset[str]:
    """Return the names of unknown parameters, of file parameters sent as text, and of unsupported ones."""
    unknown = {name for name in texts if name not in parameters or parameters[name].is_file}
    ignored = {
        name
        for name, value in parsed.items()
        if parameters[name].support == "ignored" and value not in parameters[name].idle
    }
    return frozenset(unknown | ignored)


def not_one_of(
    name: str, value: str, allowed: Collection[str], *, why: str = "", solution: str = ""
) -> InvalidParameter:
    """Return the error for a value that is not allowed; `why` is appended to its message."""
    return InvalidParameter(
        f"Parameter {name!r} must be one of {', '.join(allowed)}.{why}",
        details=f"{_label(name)} must be one of {', '.join(allowed)}",
        solution=solution or _correction(name, value),
        parameter=name,
    )


def model_not_allowed(name: str, models: Collection[str]) -> InvalidParameter:
    """Return the error for a model that is not in MODELS_ALLOWED, with the way to allow a known one."""
    if name not in REGISTRY:
        return not_one_of("model", name, models)
    command, setting = f"python -m app models pull {name}", f"MODELS_ALLOWED={','.join([*models, name])}"
    solution = f"Omit 'model', or have the operator run '{command}' and start the service with {setting}."
    return not_one_of("model", name, models, solution=solution)


def _parsed(name: str, kind: values.Kind[Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidParameter(
            f"Parameter {name!r} {error}.",
            details=f"{_label(name)} {_range(kind) or error}",
            solution=_correction(name, text),
            parameter=name,
        ) from None


def _label(name: str) -> str:
    """Return a name as words: max_width as Max width."""
    return name.replace("_", " ").capitalize()


def _range(kind: values.Kind[Any]) -> str:
    low, high = kind.schema.get("minimum"), kind.schema.get("maximum")
    return "" if low is None else f"must be between {low}-{high}"


def _correction(name: str, text: str) -> str:
    return f"Correct {name!r}, which is {text[:100]!r}."
