"""Colour spaces given without an ICC profile, as ICC profiles.

They are code points of ITU-T H.273, in a PNG (cICP) or an AVIF or HEIF (nclx), or gamma and chromaticities of a PNG.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.imaging import png_chunks

__all__ = ["matrix_profile", "profile_beside_icc"]

Primaries = tuple[float, ...]

# x and y of white, red, green and blue: H.273, table 2.
D65 = (0.3127, 0.329)
PRIMARIES: dict[int, Primaries] = {
    1: (*D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
# Gamma by transfer characteristics: H.273, table 3; None is sRGB's curve, which browsers also use for those of video.
# The others, such as PQ and HLG of HDR, are not supported: the pixels stay as they are.
GAMMAS = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
# The gamma that programs write for sRGB.
SRGB_GAMMA = 0.45455
WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# Parametric curve of type 3 (ICC.1:2010, 10.16): sRGB's.
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile_beside_icc(data: bytes, name: str, info: Mapping[Any, object]) -> bytes | None:
    """Return the profile of the colour space that an image declares outside ICC, None without or with priority of ICC.

    A PNG's code points have priority over ICC (PNG, third edition, 4.3), no other declaration has.
    """
    points = png_chunks.code_points(data) if name == "PNG" else None
    if points is None and info.get("icc_profile"):
        return None
    if name in {"AVIF", "HEIF"}:
        points = _nclx(data)
    if points and points[0] in PRIMARIES and points[1] in GAMMAS:
        return matrix_profile(PRIMARIES[points[0]], GAMMAS[points[1]])
    return None if info.get("icc_profile") or "srgb" in info else _of_gamma(info)


def _of_gamma(info: Mapping[Any, object]) -> bytes | None:
    """Return the profile of a PNG's gamma and chromaticities."""
    gamma, primaries = info.get("gamma"), info.get("chromaticity")
    if not isinstance(gamma, float) or not isinstance(primaries, tuple) or not 0.1 <= gamma <= 2:
        return None
    return matrix_profile(primaries, None if abs(gamma - SRGB_GAMMA) < 0.001 else 1 / gamma)


@lru_cache(maxsize=8)
def matrix_profile(primaries: Primaries, gamma: float | None) -> bytes | None:
    """Return an ICC profile of primaries (x and y of white, red, green, blue), None if they are impossible.

    `gamma` None is sRGB's curve.
    """
    if min(primaries[1::2]) <= 0:
        return None
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(*[iter(primaries)] * 2, strict=True))
    try:
        matrix = np.stack(colours, axis=1)
        matrix = _to_d50(white) @ (matrix * np.linalg.solve(matrix, white))
        return _profile(matrix, gamma)
    except (np.linalg.LinAlgError, struct.error):
        return None


def _to_d50(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Bradford's adaptation of a white to that of ICC."""
    adapted: NDArray[np.float64] = (
        np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ WHITE_D50 / (BRADFORD @ white)) @ BRADFORD
    )
    return adapted


def _profile(matrix: NDArray[np.float64], gamma: float | None) -> bytes:
    """Return a profile of the columns of a matrix and one curve: ICC.1:2010, 8.3."""
    curve = b"para" + bytes(4)
    curve += struct.pack(">HH", 0, 0) + _fixed(gamma) if gamma else struct.pack(">HH", 3, 0) + _fixed(*SRGB_CURVE)
    tags = {b"wtpt": b"XYZ " + bytes(4) + _fixed(*WHITE_D50)}
    for name, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
        tags[name + b"XYZ"] = b"XYZ " + bytes(4) + _fixed(*column)
        tags[name + b"TRC"] = curve
    at, table, body = 132 + 12 * len(tags), struct.pack(">L", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">LL", at + len(body), len(value))
        body += value
    head = bytes(8) + b"\x04\x20\0\0" + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + _fixed(*WHITE_D50)
    return struct.pack(">L", at + len(body)) + head[4:].ljust(124, b"\0") + table + body


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}l", *(round(value * 65536) for value in values))


def _nclx(data: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer of the first colour information box: ISO/IEC 14496-12, 12.1.5."""
    at = data.find(b"colrnclx") + 8
    if at < 8 or at + 4 > len(data):
        return None
    return int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4])
