"""Scans: exact in well-formed files, never too low in malformed ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.imaging.jpeg import count_scans, ends_in_last_scan, is_arithmetic, unsupported_variant
from tests.support.metadata_files import HIDDEN, SIZE, after_header, jpegs, segment
from tests.support.photos import encoded
from tests.support.synthetic_images import noise

JPEG, PROGRESSIVE = encoded(noise(SIZE), "JPEG"), encoded(noise(SIZE), "JPEG", progressive=True)
FILES = jpegs()
STARTS_OF_SCANS = b"\xff\xda" * 5


@pytest.mark.parametrize("name", FILES)
def test_scans_of_every_structure_are_counted(name: str) -> None:
    assert count_scans(FILES[name]) == (10 if "progressive" in name or "between scans" in name else 1)


@pytest.mark.parametrize(
    "data",
    [
        JPEG + STARTS_OF_SCANS,
        after_header(JPEG, segment(0xED, STARTS_OF_SCANS)),
        after_header(JPEG, segment(0xFE, b"")),
        after_header(JPEG, b"\xff" * 7),
    ],
)
def test_bytes_outside_of_scans_are_not_counted(data: bytes) -> None:
    assert count_scans(data) == 1


@pytest.mark.parametrize(
    "data",
    [
        after_header(PROGRESSIVE, b"\0"),
        after_header(PROGRESSIVE, b"\xff\xfe\0\0"),
        after_header(PROGRESSIVE, b"\xff\xfe\0\1"),
        after_header(PROGRESSIVE, segment(0xF7, HIDDEN)),
        after_header(PROGRESSIVE, segment(0xC8, HIDDEN)),
        after_header(PROGRESSIVE, b"\xff\xd8"),
        PROGRESSIVE[:-2] + segment(0xFE, b"") + b"more" + PROGRESSIVE[-2:],
        PROGRESSIVE[:-2],
        after_header(PROGRESSIVE, segment(0xFE, b"") * 100_000),
    ],
)
def test_in_a_malformed_file_every_possible_scan_is_counted(data: bytes) -> None:
    assert count_scans(data + STARTS_OF_SCANS) == count_scans(PROGRESSIVE) + 5


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"\xff", b"\0", b"\xd9", b"\xda", b"\xe1", b"\0\4", b"Exif\0\0", JPEG[20:]]), max_size=40)
)
def test_the_number_of_scans_never_exceeds_their_markers(parts: list[bytes]) -> None:
    data = JPEG[:20] + b"".join(parts)
    assert 0 <= count_scans(data) <= data.count(b"\xff\xda")


@pytest.mark.parametrize("name", FILES)
def test_huffman_coding_is_not_arithmetic(name: str) -> None:
    assert not is_arithmetic(FILES[name])


@pytest.mark.parametrize("marker", [b"\xc9", b"\xca", b"\xcb", b"\xcd", b"\xce", b"\xcf"])
def test_arithmetic_coding_is_recognised_by_the_frame(marker: bytes) -> None:
    assert is_arithmetic(JPEG.replace(b"\xff\xc0", b"\xff" + marker, 1))
    assert not is_arithmetic(after_header(JPEG, segment(0xED, b"\xff" + marker)))
    assert is_arithmetic(after_header(JPEG, segment(0xED, b"\xff" + marker) + b"\0"))


def framed(marker: int, precision: int = 8, components: int = 3) -> bytes:
    """Return a JPEG with the fields of its frame replaced."""
    at = JPEG.index(b"\xff\xc0")
    changed = bytes((0xFF, marker)) + JPEG[at + 2 : at + 4] + bytes((precision,)) + JPEG[at + 5 : at + 9]
    return JPEG[:at] + changed + bytes((components,)) + JPEG[at + 10 :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (framed(0xC1, precision=12), "12-bit samples"),
        (framed(0xC3, precision=16), "16-bit samples"),
        (framed(0xC0, components=2), "2 components"),
        (framed(0xCB), "lossless with arithmetic coding"),
        (framed(0xC5), "hierarchical"),
        (framed(0xF7), "JPEG-LS"),
        (JPEG, ""),
        (PROGRESSIVE, ""),
        (JPEG[:30], ""),
        (b"\xff\xd8\xff\xc0\0\2", ""),
    ],
)
def test_a_variant_that_is_not_supported_is_named(data: bytes, expected: str) -> None:
    assert unsupported_variant(data) == expected


SCANS = [at for at in range(len(PROGRESSIVE)) if PROGRESSIVE.startswith(b"\xff\xda", at)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (JPEG[:-2], True),
        (JPEG[:-40], True),
        (PROGRESSIVE[:-2], True),
        (PROGRESSIVE[: SCANS[-1]], False),
        (PROGRESSIVE[: SCANS[-1] + 4], False),
        (PROGRESSIVE[: SCANS[-2] - 3], False),
        (PROGRESSIVE[: SCANS[0] + 14], False),
        (JPEG[:100], False),
        (JPEG, False),
        (b"\xff\xd8\xff\xda\0\2", True),
        (b"", False),
    ],
)
def test_only_a_file_that_ends_in_its_last_scan_may_be_complete(data: bytes, expected: bool) -> None:
    assert ends_in_last_scan(data) == expected
