"""Detection of formats by their first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imaging.formats import ACCEPTED_FORMATS, sniff
from tests.support.photos import encoded
from tests.support.synthetic_images import FORMATS, quarters


def iso_media(major: bytes, *brands: bytes, minor: bytes = bytes(4)) -> bytes:
    box = b"ftyp" + major + minor + b"".join(brands)
    return (len(box) + 4).to_bytes(4) + box


@pytest.mark.parametrize("name", FORMATS)
def test_encoded_files_are_detected(name: str) -> None:
    assert sniff(encoded(quarters(), name)) == name


def test_every_accepted_format_is_tested() -> None:
    assert set(ACCEPTED_FORMATS) == set(FORMATS)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GIF87a", "GIF"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"II+\0", "TIFF"),
        (b"MM\0+", "TIFF"),
        (b"RIFF\0\0\0\0WEBP", "WEBP"),
        (iso_media(b"avif"), "AVIF"),
        (iso_media(b"avis"), "AVIF"),
        (iso_media(b"mif1", b"miaf", b"avif"), "AVIF"),
        (iso_media(b"heic"), "HEIF"),
        (iso_media(b"mif1", b"heic"), "HEIF"),
        (iso_media(b"msf1", b"hevc"), "HEIF"),
        (bytes(4) + b"ftypheic", "HEIF"),
        (b"\xff\xff\xff\xffftypavif", "AVIF"),
    ],
)
def test_a_signature_is_detected(data: bytes, name: str) -> None:
    assert sniff(data) == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"B",
        b"\xff\xd8",
        b"\x89PNG",
        b"GIF88a",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WEB",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"8BPS\0\x01",
        b"\0\0\x01\0\x01\0",
        iso_media(b"isom", b"mp42"),
        iso_media(b"isom", minor=b"avif"),
        iso_media(b"qt  ") + b"heic",
    ],
)
def test_other_bytes_are_not_a_format(data: bytes) -> None:
    assert sniff(data) is None


@given(st.binary(max_size=64))
def test_any_bytes_give_a_format_or_none(data: bytes) -> None:
    assert sniff(data) in (None, *ACCEPTED_FORMATS)


@given(st.sampled_from(FORMATS[:1] + FORMATS[2:3]), st.binary(max_size=64))
def test_bytes_after_the_signature_are_ignored(name: str, tail: bytes) -> None:
    assert sniff(encoded(quarters(), name)[:12] + tail) == name
