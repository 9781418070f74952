"""Files with every kind of metadata: author, place, time, camera, and a thumbnail."""

from __future__ import annotations

import struct

from PIL import Image, PngImagePlugin

from tests.support.photos import encoded
from tests.support.synthetic_images import chunk, noise, quarters, srgb_profile

TEXT = "Elisabeth, 48.858 N"
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>{TEXT}</dc:creator></x:xmpmeta>'.encode()
HIDDEN = TEXT.encode()
SIZE = (48, 32)
# Without its time of creation, so that files are the same in every run.
ICC = srgb_profile()[:24] + bytes(12) + srgb_profile()[36:]


def exif(orientation: int | None = 6) -> bytes:
    """Return an EXIF block with camera, place and thumbnail, and an orientation unless it is None."""
    block = Image.Exif()
    if orientation is not None:
        block[0x0112] = orientation
    block[0x010F] = TEXT
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6), 0x1D: TEXT})
    block.get_ifd(0x8769).update({0x9003: TEXT, 0x927C: HIDDEN})
    return block.tobytes() + encoded(noise((16, 16)), "JPEG", comment=HIDDEN)


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def after_header(data: bytes, extra: bytes) -> bytes:
    """Insert segments after a JPEG's JFIF header."""
    return data[:20] + extra + data[20:]


def before(data: bytes, name: bytes, extra: bytes) -> bytes:
    """Insert chunks before the first one of a name in a PNG."""
    at = data.index(name) - 4
    return data[:at] + extra + data[at:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP file of these chunks."""
    body = b"WEBP" + b"".join(riff_chunk(*each) for each in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def riff_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def riff_chunks(data: bytes, at: int = 12) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a WebP file."""
    found = []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def jpegs() -> dict[str, bytes]:
    """Return JPEG files of every structure."""
    rgb, metadata = noise(SIZE), {"exif": exif(), "xmp": XMP, "comment": HIDDEN, "icc_profile": ICC}
    plain = encoded(rgb, "JPEG", **metadata)
    photoshop = segment(0xED, b"Photoshop 3.0\0" + HIDDEN) + segment(0xE0, b"JFXX\0\x10" + HIDDEN)
    thumbnail = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\x03\x02" + HIDDEN[:18])
    return {
        "jpeg": plain,
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True, **metadata),
        "jpeg restarts": encoded(rgb, "JPEG", restart_marker_rows=1, **metadata),
        "jpeg progressive restarts": encoded(rgb, "JPEG", progressive=True, restart_marker_blocks=1, **metadata),
        "jpeg grey": encoded(rgb.convert("L"), "JPEG", exif=exif(), xmp=XMP, comment=HIDDEN),
        "jpeg inks": encoded(rgb.convert("CMYK"), "JPEG", exif=exif(), xmp=XMP, comment=HIDDEN),
        "jpeg rgb": encoded(rgb, "JPEG", keep_rgb=True, **metadata),
        "jpeg two pictures": encoded(rgb, "MPO", save_all=True, append_images=[noise(SIZE, seed=2)], exif=exif()),
        "jpeg applications": after_header(plain, photoshop) + HIDDEN,
        "jpeg thumbnail": plain[:2] + thumbnail + plain[20:],
        "jpeg fill bytes": after_header(plain, b"\xff" * 7)[:-2] + b"\xff\xff\xff\xd9",
        "jpeg comment between scans": _between_scans(segment(0xFE, HIDDEN) + segment(0xE1, exif())),
        "jpeg markers in a segment": after_header(plain, segment(0xED, b"\xff\xd9\xff\xda" + HIDDEN)),
    }


def _between_scans(extra: bytes) -> bytes:
    data = encoded(noise(SIZE), "JPEG", progressive=True)
    second = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    return data[:second] + extra + data[second:]


def pngs() -> dict[str, bytes]:
    """Return PNG files with every kind of text, transparency and animation."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", TEXT)
    info.add_text("Comment", TEXT, zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add(b"tIME", HIDDEN[:7])
    info.add(b"prVt", HIDDEN)
    metadata = {"exif": exif(), "pnginfo": info, "icc_profile": ICC, "dpi": (300, 300)}
    palette, frames = quarters(SIZE).quantize(4), [noise(SIZE, 4, seed) for seed in (2, 3)]
    plain = encoded(noise(SIZE), "PNG", **metadata)
    return {
        "png": plain,
        "png alpha": encoded(noise(SIZE, 4), "PNG", **metadata),
        "png palette": encoded(palette, "PNG", transparency=1, **metadata),
        "png moving": encoded(
            noise(SIZE, 4), "PNG", save_all=True, append_images=frames, duration=70, loop=3, **metadata
        ),
        "png gamma": before(plain, b"iCCP", chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"bKGD", bytes(6))),
        "png late": before(encoded(noise(SIZE), "PNG"), b"IEND", chunk(b"eXIf", exif()[6:]) + chunk(b"tEXt", HIDDEN)),
        "png more after it": plain + HIDDEN,
    }


def webps() -> dict[str, bytes]:
    """Return WebP files of both codecs, with alpha and animated."""
    metadata = {"exif": exif(), "xmp": XMP, "icc_profile": ICC}
    frames = [noise(SIZE, 4, seed) for seed in (2, 3)]
    plain = encoded(noise(SIZE), "WEBP", **metadata)
    moving = encoded(noise(SIZE, 4), "WEBP", save_all=True, append_images=frames, duration=70, loop=3, **metadata)
    return {
        "webp": plain,
        "webp simple": encoded(noise(SIZE), "WEBP") + HIDDEN,
        "webp lossless": encoded(noise(SIZE, 4), "WEBP", lossless=True, **metadata),
        "webp alpha": encoded(noise(SIZE, 4), "WEBP", **metadata),
        "webp moving": riff(*((name, data + _metadata_frame(name)) for name, data in riff_chunks(moving))),
        "webp unknown chunk": riff(*riff_chunks(plain), (b"note", HIDDEN)) + HIDDEN,
    }


def _metadata_frame(name: bytes) -> bytes:
    return riff_chunk(b"note", HIDDEN) if name == b"ANMF" else b""


def gifs() -> dict[str, bytes]:
    """Return GIF files, still and animated; the format has no orientation."""
    frames = [noise(SIZE, seed=seed) for seed in (2, 3)]
    plain = encoded(noise(SIZE), "GIF", comment=HIDDEN)
    table = 13 + 3 * 256
    application = b"\x21\xff\x0bXMP DataXMP" + bytes((len(XMP),)) + XMP + b"\0"
    unknown = b"\x21\x77" + bytes((len(HIDDEN),)) + HIDDEN + b"\0"
    return {
        "gif": plain,
        "gif moving": encoded(
            noise(SIZE), "GIF", save_all=True, append_images=frames, duration=70, loop=3, comment=HIDDEN
        ),
        "gif transparent": encoded(quarters(SIZE).quantize(4), "GIF", transparency=1, comment=HIDDEN),
        "gif applications": plain[:table] + application + unknown + plain[table:] + HIDDEN,
    }


def bmps() -> dict[str, bytes]:
    """Return BMP files; they have room for metadata only after their end."""
    images = {"rgb": noise(SIZE), "grey": noise(SIZE, 1), "black and white": noise((37, 5), 1).convert("1")}
    return {f"bmp {name}": encoded(image, "BMP") + HIDDEN for name, image in images.items()}


def every_file() -> dict[str, bytes]:
    """Return all files by name."""
    return jpegs() | pngs() | webps() | gifs() | bmps()
