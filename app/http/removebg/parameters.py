"""Parameters of remove.bg's dialect, and their parsing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.http.removebg import placement
from app.options import values
from app.options.parameters import Fields, Parameter, ParsedRequest, by_name, names_without_effect, parse_fields
from app.removal import Canvas, RemovalOptions

__all__ = ["BACKGROUNDS", "PARAMETERS", "SOURCES", "RemoveBgRequest", "parse"]

SOURCES = ("image_file", "image_file_b64", "image_url")
BACKGROUNDS = ("bg_color", "bg_image_url", "bg_image_file")


@dataclass(frozen=True, slots=True)
class RemoveBgRequest(ParsedRequest):
    """A request of this dialect; `wants_type` requests the header X-Type."""

    wants_type: bool = True


PARAMETERS = by_name(
    Parameter(
        "image_file",
        values.text,
        "an image, multipart only",
        "none",
        "The photo. Exactly one of the three sources is required.",
        is_file=True,
    ),
    Parameter("image_file_b64", values.text, "base64", "none", "The photo, as plain base64 or a data URI."),
    Parameter(
        "image_url",
        values.text,
        "a URL",
        "none",
        "URL of the photo; only with ALLOW_URL_FETCH.",
        "invalid_image_url",
        "partly",
    ),
    Parameter(
        "size",
        placement.size,
        "preview, small, regular, medium, hd, full, 4k, 50MP, auto",
        "preview",
        "Maximum megapixels of the answer: 0.25 (the first three), 1.5, 4, else 25 (PNG 10); never upscaled.",
        "invalid_size",
        "partly",
    ),
    Parameter(
        "type",
        values.choice("auto", "person", "product", "car", "animal", "graphic", "transportation", "other"),
        "auto, person, product, car, animal, graphic, transportation, other",
        "auto",
        "Type of subject; the same model is used for all.",
        support="ignored",
        idle=frozenset({"auto"}),
    ),
    Parameter(
        "type_level",
        values.choice("none", "1", "2", "latest"),
        "none, 1, 2, latest",
        "1",
        "Level of detail of X-Type, which is always `other`; absent with none.",
        support="partly",
    ),
    Parameter(
        "format",
        values.choice("AUTO", "PNG", "JPEG", "WEBP", "ZIP", also={"JPG": "JPEG"}),
        "auto, png, jpg, webp, zip",
        "auto",
        "Output format. auto: PNG if anything is transparent, else JPG; zip: color.jpg and alpha.png.",
        "invalid_format",
    ),
    Parameter(
        "roi",
        placement.region,
        "x1 y1 x2 y2, each in px or %",
        "0% 0% 100% 100%",
        "Region of interest, which limits the subject; px of the photo.",
        "invalid_roi",
    ),
    Parameter("crop", values.boolean, "bool", "false", "Crop to the subject."),
    Parameter(
        "crop_margin",
        values.margins,
        "1, 2 or 4 of NNpx (to 500px) or NN% (to 50%)",
        "0",
        "Margin around the subject with crop, also beyond the photo; % of the subject, px of the photo.",
        "invalid_crop_margin",
    ),
    Parameter(
        "scale",
        values.scale,
        "10%–100%, original",
        "original",
        "Size of the subject relative to the answer's width or height, whichever limits first.",
        "invalid_scale",
    ),
    Parameter(
        "position",
        values.position,
        "original, center, x%, x% y%",
        "original; with scale: center",
        "Position of the subject: 0% is left and top, 100% right and bottom.",
        "invalid_position",
    ),
    Parameter(
        "channels",
        values.choice("rgba", "alpha"),
        "rgba, alpha",
        "rgba",
        "alpha: answer with the greyscale mask, without background.",
        "invalid_channels",
    ),
    Parameter(
        "bg_color",
        values.colour,
        "3, 4, 6 or 8 hex digits with or without #, a CSS colour name",
        "none",
        "Colour behind the subject. Only one background is allowed.",
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
        "The same, uploaded with the photo.",
        is_file=True,
    ),
    Parameter(
        "add_shadow",
        values.boolean,
        "bool",
        "false",
        "Artificial shadow; not supported.",
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
        "Semi-transparent car windows; always as the model predicts them.",
        "invalid_semitransparency",
        "ignored",
    ),
)


def parse(texts: Fields, *, model: str, longest_side: int) -> RemoveBgRequest:
    """Parse the fields that are not sources; raise InvalidParameter for the first invalid one."""
    parsed = parse_fields(texts, PARAMETERS)
    scale, mask_only = parsed.get("scale"), parsed.get("channels") == "alpha"
    canvas = Canvas(
        max_pixels=parsed.get("size", placement.SIZES["preview"]),
        roi=parsed.get("roi"),
        scale=scale,
        position=parsed.get("position", values.CENTRE if scale else None),
    )
    options = RemovalOptions(
        model=model,
        longest_side=longest_side,
        full_size=True,
        format=parsed.get("format", "AUTO"),
        background=parsed.get("bg_color"),
        mask_only=mask_only,
        require_foreground=True,
        clean_mask=True,
        canvas=canvas,
        **{name: parsed[name] for name in ("crop", "crop_margin") if name in parsed},
    )
    return RemoveBgRequest(options, _ignored(texts, parsed), parsed.get("type_level") != "none")


def _ignored(texts: Fields, parsed: Mapping[str, Any]) -> frozenset[str]:
    names = set(names_without_effect(texts, parsed, PARAMETERS))
    if parsed.get("channels") == "alpha":
        names |= {name for name in BACKGROUNDS if name in texts}
    if "crop_margin" in texts and not parsed.get("crop"):
        names.add("crop_margin")
    return frozenset(names)
