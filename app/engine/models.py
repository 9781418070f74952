"""Registry of supported models.

A model is a local model of rembg under rembg's name, this project's `lite`, or `auto`, the cascade of `lite` and
`u2netp`, whose weights are embedded: they ship in `app/engine/weights`. Models that send the image to another server,
need prompts, return several masks, take a path or are faster only on a GPU (fp16) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AUTO", "EMBEDDED", "MIN_HEADROOM_MB", "REGISTRY", "ModelSpec", "affinity"]

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
# MB of the largest accepted photo, a WEBP with alpha and 25 megapixels, in addition to the idle engine.
LARGEST_PHOTO_MB = 460
# MB that an engine needs at least on top of its memory with a small photo.
MIN_HEADROOM_MB = 64
# U2-NetP's masks react to an average over blocks of pixels: IoU 0.995 to rembg's at 2048 px, 0.999 without it.
EXACT_GAP = 8
# Size of the weights of a light model, in MB; a second session takes about 9 MB with lite and u2netp.
MAX_LIGHT_MB = 32
# Name of the cascade.
AUTO = "auto"
BRIA_LICENCE = "CC BY-NC 4.0 (commercial use needs BRIA's licence)"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Properties of a model.

    `size` is the side of its square input in px. The input is RGB divided by the maximum of the image, minus `mean`,
    divided by `std`. `activation` turns the first output into probabilities; with `stretch` rembg stretches them to
    0..1 before use. `module` is the module of rembg's session, empty if rembg has none. A photo of more than `gap`
    times `size` is averaged first. `embedded` means that the weights ship with the service, `lean` that a graph with
    the same weights ships as well, which takes less memory and time; its values differ by rounding. `exact_mb` is the
    memory cap from which the exported graph is used where values must be exact. `download_mb` is the size of the
    weights. `memory_mb` is the memory of an engine while it processes a small photo: measured for lite, u2netp and
    u2net, estimated from weights and input for the others. `photo_base_mb` is its memory besides a large photo, where
    most of `memory_mb` is given back before that photo is decoded; 0: `memory_mb`. `members` are the models of a
    cascade, first to last; the preprocessing is then that of each member.
    """

    name: str
    size: int
    licence: str
    download_mb: float
    memory_mb: int
    module: str = ""
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    activation: Literal["none", "sigmoid"] = "none"
    stretch: bool = True
    gap: int = EXACT_GAP
    embedded: bool = False
    lean: bool = False
    exact_mb: int = 0
    photo_base_mb: int = 0
    members: tuple[str, ...] = ()

    @property
    def cap_mb(self) -> int:
        """Return the memory cap of an engine with this model: enough for the largest accepted photo."""
        return max((self.photo_base_mb or self.memory_mb) + LARGEST_PHOTO_MB, self.memory_mb + MIN_HEADROOM_MB)

    @property
    def light(self) -> bool:
        """Return whether the model may be loaded beside other light ones, and twice, for two numbers of threads."""
        return self.download_mb <= MAX_LIGHT_MB

    @property
    def parts(self) -> tuple[ModelSpec, ...]:
        """Return the members of a cascade, of any other model itself."""
        return tuple(REGISTRY[name] for name in self.members) or (self,)


def _birefnet(name: str, module: str, download_mb: float, memory_mb: int) -> ModelSpec:
    return ModelSpec(name, 1024, "MIT", download_mb, memory_mb, module, activation="sigmoid")


_MODELS = (
    ModelSpec(
        AUTO,
        320,
        "those of lite and u2netp",
        13.2,
        270,
        stretch=False,
        gap=3,
        embedded=True,
        photo_base_mb=140,
        members=("lite", "u2netp"),
    ),
    ModelSpec("lite", 320, "see app/engine/weights/lite.md", 8.6, 140, stretch=False, gap=3, embedded=True),
    # An idle engine takes 99 MB, with lite 101 MB, so the largest photo needs the same cap.
    ModelSpec(
        "u2netp", 320, "Apache-2.0", 4.6, 255, "u2netp", embedded=True, lean=True, exact_mb=464, photo_base_mb=140
    ),
    ModelSpec("u2net", 320, "Apache-2.0", 176, 850, "u2net"),
    ModelSpec("u2net_human_seg", 320, "Apache-2.0", 176, 850, "u2net_human_seg"),
    ModelSpec("silueta", 320, "Apache-2.0", 43, 550, "silueta"),
    ModelSpec(
        "isnet-general-use", 1024, "Apache-2.0", 179, 2000, "dis_general_use", mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0)
    ),
    ModelSpec("isnet-anime", 1024, "Apache-2.0", 176, 2000, "dis_anime", std=(1.0, 1.0, 1.0)),
    _birefnet("birefnet-general", "birefnet_general", 973, 6000),
    _birefnet("birefnet-general-lite", "birefnet_general_lite", 224, 4000),
    _birefnet("birefnet-portrait", "birefnet_portrait", 973, 6000),
    _birefnet("birefnet-dis", "birefnet_dis", 973, 6000),
    _birefnet("birefnet-hrsod", "birefnet_hrsod", 973, 6000),
    _birefnet("birefnet-cod", "birefnet_cod", 973, 6000),
    _birefnet("birefnet-massive", "birefnet_massive", 973, 6000),
    ModelSpec("bria-rmbg", 1024, BRIA_LICENCE, 1020, 6000, "bria_rmbg"),
)

REGISTRY: dict[str, ModelSpec] = {model.name: model for model in _MODELS}
EMBEDDED = tuple(model.name for model in _MODELS if model.embedded)


def affinity(name: str) -> str:
    """Return the group of models that an engine holds at once: all light models, else the model; `name` may be ""."""
    return "light" if name and REGISTRY[name].light else name
