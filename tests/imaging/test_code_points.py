"""Colour spaces without an ICC profile."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from app.imaging.code_points import D65, PRIMARIES, matrix_profile, profile_beside_icc
from app.imaging.decode import PixelLimits, decode
from tests.support.photos import encoded
from tests.support.synthetic_images import chunk, srgb_profile, swapped_profile

LIMITS = PixelLimits(decoded=10**6, hard=10**6)
RED = (200, 60, 40)
# The same numbers in Display P3, converted to sRGB.
RED_OF_P3 = (217, 42, 23)
P3_CHROMATICITIES = PRIMARIES[12]


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """Insert chunks behind the header of a PNG."""
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, 1)))


def gamma_and_chromaticities(gamma: float, primaries: tuple[float, ...]) -> tuple[bytes, bytes]:
    packed = struct.pack(">8L", *(round(value * 100_000) for value in primaries))
    return chunk(b"gAMA", struct.pack(">L", round(gamma * 100_000))), chunk(b"cHRM", packed)


def colour_of(data: bytes) -> tuple[int, ...]:
    pixel = decode(data, 100, LIMITS).rgb.getpixel((3, 3))
    assert isinstance(pixel, tuple)
    return pixel


def red(format: str = "PNG", colour: tuple[int, int, int] = RED, **options: object) -> bytes:
    return encoded(Image.new("RGB", (16, 16), colour), format, **options)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((12, 13), RED_OF_P3),
        ((12, 1), RED_OF_P3),
        ((1, 13), RED),
        ((1, 1), RED),
        ((2, 2), RED),
        ((9, 16), RED),
        ((12, 18), RED),
        ((255, 255), RED),
    ],
    ids=["P3", "P3 video", "sRGB", "video", "unspecified", "PQ", "HLG", "reserved"],
)
def test_code_points_of_a_png_are_applied(points: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert colour_of(with_chunks(red(), cicp(*points))) == pytest.approx(expected, abs=2)


def test_linear_code_points_are_applied() -> None:
    assert colour_of(with_chunks(red(colour=(147, 12, 5)), cicp(1, 8))) == pytest.approx((200, 61, 38), abs=1)


def test_code_points_have_priority_over_a_profile() -> None:
    data = with_chunks(red(icc_profile=swapped_profile()), cicp(12, 13))
    assert colour_of(data) == pytest.approx(RED_OF_P3, abs=2)


def test_srgb_code_points_have_priority_over_a_profile() -> None:
    assert colour_of(with_chunks(red(icc_profile=swapped_profile()), cicp(1, 13))) == RED


@pytest.mark.parametrize(
    ("gamma", "primaries", "expected"),
    [
        (0.45455, P3_CHROMATICITIES, RED_OF_P3),
        (0.45455, PRIMARIES[1], RED),
        (1.0, PRIMARIES[1], (229, 132, 110)),
        (0.0, PRIMARIES[1], RED),
        (40_000.0, PRIMARIES[1], RED),
    ],
    ids=["P3", "sRGB", "linear", "gamma 0", "huge gamma"],
)
def test_gamma_and_chromaticities_of_a_png_are_applied(
    gamma: float, primaries: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    data = with_chunks(red(), *gamma_and_chromaticities(gamma, primaries))
    assert colour_of(data) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("primaries", [(0.0,) * 8, (*D65, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3), (1e-5,) * 8])
def test_impossible_chromaticities_are_ignored(primaries: tuple[float, ...]) -> None:
    assert colour_of(with_chunks(red(), *gamma_and_chromaticities(0.45455, primaries))) == RED


def test_chromaticities_without_gamma_are_ignored() -> None:
    assert colour_of(with_chunks(red(), gamma_and_chromaticities(1.0, P3_CHROMATICITIES)[1])) == RED


@pytest.mark.parametrize("other", [chunk(b"sRGB", b"\0"), None], ids=["sRGB chunk", "profile"])
def test_srgb_and_profiles_have_priority_over_gamma(other: bytes | None) -> None:
    data = red() if other else red(icc_profile=srgb_profile())
    chunks = gamma_and_chromaticities(1.0, P3_CHROMATICITIES)
    assert colour_of(with_chunks(data, *chunks, other or b"")) == RED


@pytest.mark.parametrize(("points", "expected"), [((12, 13), RED_OF_P3), ((1, 13), RED), ((9, 16), RED)])
@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_code_points_of_iso_media_are_applied(format: str, points: tuple[int, int], expected: tuple[int, ...]) -> None:
    data = red(format, quality=95)
    at = data.index(b"colrnclx") + 8
    data = data[:at] + struct.pack(">HH", *points) + data[at + 4 :]
    assert colour_of(data) == pytest.approx(expected, abs=5)


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_a_profile_has_priority_over_code_points_of_iso_media(format: str) -> None:
    data = red(format, quality=95, icc_profile=swapped_profile())
    assert colour_of(data + b"colrnclx\0\x0c\0\x0d") == pytest.approx((60, 200, 40), abs=5)


def test_a_file_without_code_points_has_none() -> None:
    assert profile_beside_icc(b"", "AVIF", {}) is None
    assert profile_beside_icc(b"colrnclx\0", "AVIF", {}) is None
    assert profile_beside_icc(b"\x89PNG\r\n\x1a\n" + b"\xff" * 20, "PNG", {}) is None


def test_a_matrix_profile_of_srgb_is_srgb() -> None:
    icc = matrix_profile(PRIMARIES[1], None)
    assert icc
    assert colour_of(red(icc_profile=icc)) == RED
