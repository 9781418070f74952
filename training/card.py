"""Text of the model card: how the model was made, from which photos under which licences, and how good it is."""

from __future__ import annotations

from pathlib import Path

from app.engine.weights import sha256
from training.comparison import NEW, TODAY, Comparison
from training.dataset import Data, NamedSet
from training.recipe import Recipe

__all__ = ["card"]


def card(model: Path, recipe: Recipe, start: str, teacher: str, data: Data, comparison: Comparison) -> str:
    """Return the card of an exported model in Markdown; a person adds what it is weak at."""
    megabytes = model.stat().st_size / 1e6
    took = comparison.milliseconds
    objections = comparison.objections()
    verdict = "better on every validation set and no slower" if not objections else "; ".join(objections)
    return f"""# Model card: lite

`{model.name}`, {megabytes:.1f} MB, ONNX opset 17, made for this project by `make train` (training/README.md).
SHA-256 `{sha256(model)}`.

- **Input** `input`: float32, 1×3×320×320, RGB. The photo is resized to 320×320 (aspect ratio not kept, Lanczos),
  divided by its own maximum, then per channel minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225): rembg's U2-Net
  preprocessing.
- **Output** `mask`: float32, 1×1×320×320, a probability. It is not stretched; its maximum shows the model's confidence.
- **Network**: MobileNetV2 encoder (stride 32), dilated context and global pooling, a light decoder with separable
  convolutions and additive skips; output at half size, upsampled.
- **Trained on**: {_training(recipe, start)} Its own card lists what that was trained on. Teacher of photos
  without masks: {teacher}.
- **Licence** of the weights: as the project, MIT. Photos whose licence is "none stated" have no clear rights: users who
  need clear rights should consider this, or use another model. No set has a non-commercial licence.
- **Speed** on one thread, both models in turns: {took[NEW]:.1f} ms, today's {took[TODAY]:.1f} ms.
- **Compared with today's model**: {verdict}.

## Measured on validation photos, which this training did not use

{comparison.table()}

## Photos

| set | trained on | validated on | masks | source | licence |
|---|---|---|---|---|---|
{_rows(data, teacher)}
"""


def _training(recipe: Recipe, start: str) -> str:
    if not recipe.steps:
        return f"not in this run, which exported {start}."
    sizes = ", ".join(map(str, recipe.sizes))
    return (
        f"{recipe.steps} steps of {recipe.batch} photos at {sizes} px, learning rate {recipe.rate:g}, stem and first "
        f"{recipe.frozen} blocks of the encoder frozen; it began with {start}."
    )


def _rows(data: Data, teacher: str) -> str:
    return "\n".join(_row(one, teacher) for one in (*data.sets, *data.backgrounds))


def _row(one: NamedSet, teacher: str) -> str:
    facts = one.facts
    masks = "none: backgrounds" if facts.background else facts.masks or teacher
    counts = f"{len(one.training)} | {len(one.validation)}"
    return f"| {one.name} | {counts} | {masks} | {facts.source} | {facts.licence} |"
