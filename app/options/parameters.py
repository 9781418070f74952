"""Parameters of requests: their declaration in every dialect, the table of the native one, and how they are parsed.

A native parameter is declared once, in PARAMETERS. Its value goes to the field of the same name in `NativeRequest` if
there is one, else in `RemovalOptions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from app.errors import InvalidParameter
from app.options import values
from app.removal import RemovalOptions

__all__ = [
    "PARAMETERS",
    "Fields",
    "NativeRequest",
    "Parameter",
    "ParsedRequest",
    "by_name",
    "names_without_effect",
    "not_one_of",
    "parse_fields",
    "parse_native",
]

Fields = Mapping[str, str]
Support = Literal["same", "partly", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a dialect: how its text is parsed; its values, default and effect in words.

    The other fields are for dialects of other services: `error` is remove.bg's code of a bad value, `support` says how
    much of its effect there it has here, `idle` lists the values with which it has no effect there either.
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
    """The parameters of a request: options for the engine, and the names of parameters that have no effect."""

    options: RemovalOptions
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NativeRequest(ParsedRequest):
    """A request of the native dialect: options for the engine, and the decisions of the web process."""

    on_error: Literal["fail", "original"] = "fail"
    save: bool = False


def by_name(*parameters: Parameter) -> dict[str, Parameter]:
    """Return the table of a dialect."""
    return {parameter.name: parameter for parameter in parameters}


PARAMETERS = by_name(
    Parameter(
        "format",
        values.choice("PNG", "JPEG", "WEBP", "ZIP", "AUTO", also={"JPG": "JPEG"}),
        "PNG, JPEG (JPG), WEBP, ZIP, AUTO",
        "PNG",
        "Format of the answer; ZIP holds color.jpg and alpha.png; AUTO goes by the Accept header.",
    ),
    Parameter(
        "quality",
        values.whole_number(10, 100),
        "10–100",
        "85",
        "Quality of JPEG and WEBP; for PNG the effort, and under 60 a palette of 256 colours.",
    ),
    Parameter(
        "max_width",
        values.whole_number(100, 4000),
        "100–4000",
        "none",
        "Widest the answer may be, px; aspect ratio kept, never upscaled.",
    ),
    Parameter(
        "max_height",
        values.whole_number(100, 4000),
        "100–4000",
        "none",
        "Highest the answer may be, px; aspect ratio kept, never upscaled.",
    ),
    Parameter(
        "background",
        values.colour,
        "#rgb[a], #rrggbb[aa], a CSS colour name, transparent",
        "transparent; JPEG: white",
        "Colour behind the subject.",
    ),
    Parameter("model", values.text, "a name in MODELS_ALLOWED", "MODEL_NAME", "Model to use."),
    Parameter("mask_only", values.boolean, "bool", "false", "Answer with the mask, grey, instead of the picture."),
    Parameter("crop", values.boolean, "bool", "false", "Crop to the subject."),
    Parameter(
        "crop_margin",
        values.margins,
        "1, 2 or 4 of NNpx (to 500px) or NN% (to 50%)",
        "0",
        "Margin kept around the subject when cropping; % is of the subject's box; never beyond the photo.",
    ),
    Parameter(
        "refine",
        values.choice("none", "edges", "matting"),
        "none, edges, matting",
        "edges",
        "edges: sharpen the mask and clean the subject's colours along it; matting: find hair and fur, in seconds.",
    ),
    Parameter(
        "on_error",
        values.choice("fail", "original"),
        "fail, original",
        "fail",
        "original: when memory, time or an engine fails, answer with the image as it was sent, and X-Fallback; "
        "**its metadata (EXIF, GPS) is still in it**.",
    ),
    Parameter(
        "require_foreground",
        values.boolean,
        "bool",
        "false",
        "Answer 422 UNKNOWN_FOREGROUND when the model sees no subject.",
    ),
    Parameter("save", values.boolean, "bool", "false", "Also keep the result in OUTPUT_DIR; X-Saved-As names it."),
)

# Fields of NativeRequest that are parameters; all other parameters are options of the engine.
_DECISIONS = {field.name for field in fields(NativeRequest)} & set(PARAMETERS)


def parse_native(texts: Fields, *, models: tuple[str, ...], longest_side: int, accepted_format: str) -> NativeRequest:
    """Parse native fields; the first of `models` is the default, `accepted_format` is the meaning of AUTO."""
    parsed = parse_fields(texts, PARAMETERS)
    ignored = names_without_effect(texts, parsed, PARAMETERS)
    if parsed.get("format") == "AUTO":
        parsed["format"] = accepted_format
    if parsed.setdefault("model", models[0]) not in models:
        raise not_one_of("model", parsed["model"], models)
    decisions = {name: parsed.pop(name) for name in _DECISIONS & set(parsed)}
    return NativeRequest(RemovalOptions(longest_side=longest_side, **parsed), ignored, **decisions)


def parse_fields(texts: Fields, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parse the known fields of a dialect; raise InvalidParameter that names the first bad one."""
    return {name: _parsed(name, parameters[name].kind, text) for name, text in texts.items() if name in parameters}


def names_without_effect(
    texts: Fields, parsed: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> frozenset[str]:
    """Return the names of unknown parameters, of files sent as texts, and of what is ignored here."""
    unknown = {name for name in texts if name not in parameters or parameters[name].is_file}
    ignored = {
        name
        for name, value in parsed.items()
        if parameters[name].support == "ignored" and value not in parameters[name].idle
    }
    return frozenset(unknown | ignored)


def not_one_of(name: str, value: str, allowed: Iterable[str], *, why: str = "", solution: str = "") -> InvalidParameter:
    """Return the error for a value that is not among the allowed ones; `why` is added to its message."""
    return InvalidParameter(
        f"Parameter {name!r} must be one of {', '.join(allowed)}.{why}",
        details=f"got {value[:100]!r}",
        solution=solution,
        parameter=name,
    )


def _parsed(name: str, kind: values.Kind[Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidParameter(f"Parameter {name!r} {error}.", details=f"got {text[:100]!r}", parameter=name) from None
