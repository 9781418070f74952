"""The parameters of remove.bg's dialect, as data, and the way from text fields to checked options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.http import values
from app.http.params import parse_value
from app.http.removebg import kinds
from app.removal import Canvas, RemovalOptions

__all__ = ["BACKGROUNDS", "PARAMETERS", "SOURCES", "Parameter", "Wishes", "parse"]

SOURCES = ("image_file", "image_file_b64", "image_url")
BACKGROUNDS = ("bg_color", "bg_image_url", "bg_image_file")
CENTRE = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its kind, its default and what it does, for people; `error` is the code of a bad value.

    `support` says how much of what it does at remove.bg it does here, `idle` for which values there is nothing to do.
    """

    name: str
    kind: values.Kind[Any]
    allowed: str
    default: str
    help: str
    error: str = "invalid_parameter"
    support: Literal["same", "partly", "ignored"] = "same"
    idle: frozenset[Any] = frozenset()
    is_file: bool = False


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "image_file",
            values.text,
            "an image, multipart only",
            "none",
            "The photo. Exactly one of the three sources must be there.",
            is_file=True,
        ),
        Parameter("image_file_b64", values.text, "base64", "none", "The photo, bare or as a data URI."),
        Parameter(
            "image_url",
            values.text,
            "a URL",
            "none",
            "Where the photo is; only with ALLOW_URL_FETCH.",
            "invalid_image_url",
            "partly",
        ),
        Parameter(
            "size",
            kinds.size,
            "preview, small, regular, medium, hd, full, 4k, 50MP, auto",
            "preview",
            "Most megapixels of the answer: 0.25 (the first three), 1.5, 4, else 25 (PNG 10); never upscaled.",
            "invalid_size",
            "partly",
        ),
        Parameter(
            "type",
            values.choice("auto", "person", "product", "car", "animal", "graphic", "transportation", "other"),
            "auto, person, product, car, animal, graphic, transportation, other",
            "auto",
            "What the photo shows. One model does for all of them.",
            support="ignored",
            idle=frozenset({"auto"}),
        ),
        Parameter(
            "type_level",
            values.choice("none", "1", "2", "latest"),
            "none, 1, 2, latest",
            "1",
            "How finely X-Type tells what the photo shows: it is always `other`, and absent with none.",
            support="partly",
        ),
        Parameter(
            "format",
            values.choice("AUTO", "PNG", "JPEG", "WEBP", "ZIP", also={"JPG": "JPEG"}),
            "auto, png, jpg, webp, zip",
            "auto",
            "Format of the answer. auto: PNG if anything is transparent, else JPG; zip: color.jpg and alpha.png.",
            "invalid_format",
        ),
        Parameter(
            "roi",
            kinds.region,
            "x1 y1 x2 y2, each in px or %",
            "0% 0% 100% 100%",
            "Region of interest: only what lies in it can be subject. px are the photo's.",
            "invalid_roi",
        ),
        Parameter("crop", values.boolean, "bool", "false", "Crop to the subject."),
        Parameter(
            "crop_margin",
            values.margins,
            "1, 2 or 4 of NNpx (to 500px) or NN% (to 50%)",
            "0",
            "Margin around the subject with crop, also beyond the photo; % is of the subject, px are the photo's.",
            "invalid_crop_margin",
        ),
        Parameter(
            "scale",
            kinds.scale,
            "10%–100%, original",
            "original",
            "Size of the subject: the share of the answer's width or height that it reaches first.",
            "invalid_scale",
        ),
        Parameter(
            "position",
            kinds.position,
            "original, center, x%, x% y%",
            "original; with scale: center",
            "Where the subject is: 0% is left and top, 100% right and bottom.",
            "invalid_position",
        ),
        Parameter(
            "channels",
            values.choice("rgba", "alpha"),
            "rgba, alpha",
            "rgba",
            "alpha: answer with the mask, grey, on no background.",
            "invalid_channels",
        ),
        Parameter(
            "bg_color",
            values.colour,
            "3, 4, 6 or 8 hex digits with or without #, a CSS colour name",
            "none",
            "Colour behind the subject. Only one background may be there.",
            "invalid_bg_color",
        ),
        Parameter(
            "bg_image_url",
            values.text,
            "a URL",
            "none",
            "Picture behind the subject, scaled to fill, centred; only with ALLOW_URL_FETCH.",
            "invalid_bg_image_url",
            "partly",
        ),
        Parameter(
            "bg_image_file",
            values.text,
            "an image, multipart only",
            "none",
            "The same, sent with the photo.",
            is_file=True,
        ),
        Parameter(
            "add_shadow",
            values.boolean,
            "bool",
            "false",
            "An artificial shadow: there is none.",
            support="ignored",
            idle=frozenset({False}),
        ),
        Parameter(
            "shadow_type",
            values.text,
            "auto, car, 3D, drop, none",
            "none",
            "Kind of shadow.",
            support="ignored",
            idle=frozenset({"none"}),
        ),
        Parameter("shadow_opacity", values.text, "0–100", "70", "Strength of the shadow.", support="ignored"),
        Parameter(
            "semitransparency",
            values.boolean,
            "bool",
            "true",
            "Half-transparent windows of cars: they are what the model sees of them.",
            "invalid_semitransparency",
            "ignored",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks for: the engine's options, which names had no effect, whether X-Type is wanted."""

    options: RemovalOptions
    ignored: frozenset[str]
    wants_type: bool


def parse(fields: Mapping[str, str], *, model: str, longest_side: int) -> Wishes:
    """Parse the fields that are no sources; raise InvalidParameter that names the first bad one."""
    parsed = {
        name: parse_value(name, PARAMETERS[name].kind, text) for name, text in fields.items() if name in PARAMETERS
    }
    scale, mask_only = parsed.get("scale"), parsed.get("channels") == "alpha"
    canvas = Canvas(
        max_pixels=parsed.get("size", kinds.SIZES["preview"]),
        roi=parsed.get("roi"),
        scale=scale,
        position=parsed.get("position", CENTRE if scale else None),
    )
    options = RemovalOptions(
        model=model,
        longest_side=longest_side,
        format=parsed.get("format", "AUTO"),
        background=parsed.get("bg_color"),
        mask_only=mask_only,
        require_foreground=True,
        canvas=canvas,
        **{name: parsed[name] for name in ("crop", "crop_margin") if name in parsed},
    )
    return Wishes(options, _without_effect(fields, parsed), parsed.get("type_level") != "none")


def _without_effect(fields: Mapping[str, str], parsed: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of what was asked for and is not done."""
    names = {name for name in fields if name not in PARAMETERS or PARAMETERS[name].is_file}  # files sent as texts
    names |= {
        name
        for name, value in parsed.items()
        if PARAMETERS[name].support == "ignored" and value not in PARAMETERS[name].idle
    }
    if parsed.get("channels") == "alpha":
        names |= {name for name in BACKGROUNDS if name in fields}
    if "crop_margin" in fields and not parsed.get("crop"):
        names.add("crop_margin")
    return frozenset(names)
