"""Values of schemathesis for files and base64: images, valid and damaged, in addition to its own texts.

Loaded by the process of schemathesis (SCHEMATHESIS_HOOKS), never by pytest.
"""

from __future__ import annotations

import base64
import io

import schemathesis
from hypothesis import strategies
from PIL import Image


def _image(format: str) -> bytes:
    target = io.BytesIO()
    Image.radial_gradient("L").resize((40, 30)).convert("RGB").save(target, format)
    return target.getvalue()


IMAGES = [_image(format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
FILES = strategies.sampled_from([*IMAGES, IMAGES[0][:200], IMAGES[1][:-100], b"no image", b""])
schemathesis.openapi.format("binary", FILES)
schemathesis.openapi.format("byte", FILES.map(lambda data: base64.b64encode(data).decode()))
