"""A picture of the validation photos with the worst masks: what to collect photos of next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from app.engine.session import Session
from training.comparison import NEW, TODAY, Comparison
from training.dataset import NamedSet
from training.photos import Photo

__all__ = ["write_worst"]

COUNT = 50
CELL = 160
COLUMNS = 2


def write_worst(comparison: Comparison, sets: Sequence[NamedSet], models: dict[str, Session], path: Path) -> list[str]:
    """Write photo, true mask, today's and the new mask of the worst photos; return a line for each."""
    scored = [
        (new, today, photo)
        for one in sets
        for photo, new, today in zip(
            one.validation,
            comparison.scores[NEW][one.name].ious,
            comparison.scores[TODAY][one.name].ious,
            strict=True,
        )
    ]
    worst = sorted(scored, key=lambda row: row[0])[:COUNT]
    rows = -(-len(worst) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * 4 * CELL, max(1, rows) * CELL))
    for index, (new, _today, photo) in enumerate(worst):
        at = index // rows * 4 * CELL, index % rows * CELL
        for column, cell in enumerate(_cells(photo, models)):
            sheet.paste(cell, (at[0] + column * CELL, at[1]))
        ImageDraw.Draw(sheet).text((at[0] + 4, at[1] + 4), f"{photo.key} {new:.2f}", fill=(255, 0, 0))
    sheet.save(path, quality=85)
    return [f"{photo.key}: {new:.3f} (today {today:.3f})" for new, today, photo in worst]


def _cells(photo: Photo, models: dict[str, Session]) -> list[Image.Image]:
    image = photo.open_image()
    masks = [Image.fromarray(photo.open_mask())]
    masks += [Image.fromarray((255 * models[name].predict(image)).astype(np.uint8)) for name in (TODAY, NEW)]
    return [cell.convert("RGB").resize((CELL, CELL)) for cell in (image, *masks)]
