"""The parameters of the native dialect, as data, and the way from text fields to checked options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidParameter
from app.http import values
from app.removal import RemovalOptions

__all__ = ["PARAMETERS", "Parameter", "parse_fields", "parse_options", "parse_value"]

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: how its text is parsed, what it may be and what it is when absent, for people."""

    name: str
    parse: values.Kind[Any]
    allowed: str
    default: str
    help: str


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
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
}


def parse_fields(fields: Fields) -> dict[str, Any]:
    """Parse each known field by its parameter; raise InvalidParameter that names the first bad one."""
    return {
        name: parse_value(name, PARAMETERS[name].parse, text) for name, text in fields.items() if name in PARAMETERS
    }


def parse_value(name: str, kind: values.Kind[Any], text: str) -> Any:
    """Parse a parameter's text; raise InvalidParameter that names the parameter and shows what came."""
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidParameter(f"Parameter {name!r} {error}.", details=f"got {text[:100]!r}", parameter=name) from None


def parse_options(
    fields: Fields, *, models: tuple[str, ...], longest_side: int, accepted_format: str
) -> RemovalOptions:
    """Parse fields to options; the first of `models` is the default, `accepted_format` is what AUTO means."""
    parsed = parse_fields(fields)
    if parsed.get("format") == "AUTO":
        parsed["format"] = accepted_format
    model = parsed.setdefault("model", models[0])
    if model not in models:
        raise InvalidParameter(f"Parameter 'model' must be one of {', '.join(models)}.", details=f"got {model[:100]!r}")
    return RemovalOptions(longest_side=longest_side, **parsed)
