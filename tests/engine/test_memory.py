"""Predicted and measured memory, and behaviour at the cap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard, is_out_of_memory, predict_finishing, predict_growth, resident_bytes
from app.errors import OutOfMemory
from app.imaging.decode import Header
from tests.support.photos import encoded, photo

ROOT = Path(__file__).parent.parent.parent
PNG = Header("PNG", "RGB", (5000, 5000), (5000, 5000))

# (megapixels, options of the file, longest side and layout of tests.support.peak_memory)
SIZES: list[tuple[float, dict[str, object], int | str]] = [
    (0.02, {"format": "JPEG"}, 2048),
    (0.3, {"format": "PNG"}, 2048),
    (0.7, {"format": "JPEG"}, 2048),
    (0.7, {"format": "JPEG", "progressive": True}, 800),
    (2, {"format": "JPEG"}, 2048),
    (2, {"format": "PNG"}, 800),
    (2, {"format": "PNG", "mode": "RGBA"}, 2048),
    (2, {"format": "GIF", "mode": "P"}, 2048),
    (3, {"format": "WEBP", "method": 0}, 2048),
    (3, {"format": "TIFF"}, 2048),
    (4, {"format": "BMP"}, 800),
    (5, {"format": "AVIF", "speed": 10}, 2048),
    (3, {"format": "HEIF", "enc_params": {"preset": "ultrafast"}}, 2048),
    (6, {"format": "PNG", "mode": "L"}, 2048),
    (6, {"format": "PNG", "mode": "I;16"}, 2048),
    (8, {"format": "WEBP", "mode": "RGBA", "method": 0}, 800),
    (8, {"format": "JPEG", "mode": "CMYK"}, 2048),
    (12, {"format": "JPEG"}, 2048),
    (12, {"format": "JPEG", "progressive": True, "subsampling": "4:4:4"}, 800),
    (12, {"format": "PNG", "compress_level": 1}, 2048),
    (25, {"format": "JPEG"}, 800),
    (25, {"format": "JPEG", "progressive": True}, 2048),
    (25, {"format": "PNG", "compress_level": 1}, 800),
    (1, {"format": "JPEG"}, "2048 crop-webp+"),
    (4, {"format": "JPEG"}, "2048 crop-webp+"),
    (8, {"format": "JPEG"}, "800 full-webp"),
    (12, {"format": "JPEG"}, "800 crop-jpeg+"),
    (12, {"format": "PNG", "mode": "RGBA", "compress_level": 1}, "800 scale-jpeg"),
    (24, {"format": "JPEG"}, "2048 full-png"),
    (24, {"format": "JPEG"}, "2048 full-jpeg"),
    (24, {"format": "JPEG"}, "2048 native-png"),
    (12, {"format": "JPEG"}, "2048 native-crop-webp"),
    (3, {"format": "JPEG"}, "2048 native-avif"),
    (24, {"format": "JPEG"}, "2048 native-avif"),
    (1, {"format": "JPEG"}, "2048 native-canvas"),
    (24, {"format": "JPEG"}, "2048 native-canvas"),
    (12, {"format": "JPEG"}, "2048 native-blur"),
    (12, {"format": "JPEG"}, "800 native,native-png,native-canvas,crop-jpeg,roi-webp,native-blur"),
    (24, {"format": "JPEG"}, "2048 crop-jpeg,native-png,native,native-avif,native-canvas+"),
]


def save_picture(path: Path, megapixels: float, options: dict[str, object]) -> None:
    """Save the cat at 3:2 with this number of megapixels."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    options = dict(options)
    mode = str(options.pop("mode", "RGB"))
    image = photo("cat").resize((round(height * 1.5), height))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    else:
        image = image.convert(mode)
    path.write_bytes(encoded(image, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, int]]]:
    """Measure all sizes in one process, like an engine."""
    folder = tmp_path_factory.mktemp("sizes")
    lines = []
    for number, (megapixels, options, side) in enumerate(SIZES):
        save_picture(folder / str(number), megapixels, options)
        lines.append(f"{folder / str(number)} {side}\n")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.peak_memory"],
        input="".join(lines),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    yield [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("number", range(len(SIZES)), ids=lambda number: f"{SIZES[number][0]}MP {SIZES[number][1]}")
def test_peak_memory_is_predicted_within_a_factor_of_two(number: int, measured: list[dict[str, int]]) -> None:
    idle, predicted, grown = (measured[number][key] for key in ("idle", "predicted", "measured"))
    assert idle + grown <= idle + predicted <= 2 * (idle + grown)


def test_resident_memory_agrees_with_psutil() -> None:
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


def test_a_photo_that_fits_is_admitted() -> None:
    MemoryGuard(cap=600 * MEGABYTE, warn=1, idle=120 * MEGABYTE).admit(PNG, 480 * MEGABYTE)


def test_a_photo_that_does_not_fit_is_refused_with_a_size_that_fits() -> None:
    guard = MemoryGuard(cap=300 * MEGABYTE, warn=1, idle=120 * MEGABYTE)
    webp = Header("WEBP", "RGB", (5000, 5000), (5000, 5000))
    with pytest.raises(OutOfMemory, match="smaller image") as caught:
        guard.admit(webp, predict_growth(webp, 5_000_000, 2048))
    advised = float(caught.value.advice.split()[-2])
    side = int((advised * 1e6) ** 0.5)
    guard.admit(PNG, predict_growth(Header("WEBP", "RGB", (side, side), (side, side)), 1_000_000, 2048))


def test_a_webp_needs_more_than_a_png_and_a_draft_less() -> None:
    webp = Header("WEBP", "RGB", (5000, 5000), (5000, 5000))
    draft = Header("JPEG", "RGB", (5000, 5000), (2500, 2500))
    growths = [predict_growth(header, 1_000_000, 2048) for header in (draft, PNG, webp)]
    assert growths == sorted(growths)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (
            RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
            True,
        ),
        (Exception("OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 100 bytes"), True),
        (RuntimeError("Failed to encode image: Encoding of color planes failed"), True),
        (ValueError("encoding error 1"), True),
        (ValueError("encoding error 10"), False),
        (ValueError("bad value"), False),
    ],
)
def test_out_of_memory_errors_of_all_libraries_are_recognised(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) is memory


def test_a_warning_names_the_stage(caplog: pytest.LogCaptureFixture) -> None:
    MemoryGuard(cap=2 * MEGABYTE, warn=1 * MEGABYTE).watch("decode")
    assert "memory.warning stage=decode rss_mb=" in caplog.text


def test_there_is_no_warning_below_the_threshold(caplog: pytest.LogCaptureFixture) -> None:
    assert MemoryGuard(cap=1 << 40, warn=1 << 40).watch("decode") > 0
    assert caplog.text == ""


def test_allocations_beyond_the_cap_fail(tmp_path: Path) -> None:
    code = (
        "from app.engine.memory import MemoryGuard\n"
        "guard = MemoryGuard(200 * 2**20, 1)\nguard.arm()\n"
        "try:\n    bytearray(300 * 2**20)\nexcept MemoryError:\n    print('stopped')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "stopped\n"


def test_unused_address_space_does_not_lower_the_cap() -> None:
    code = (
        "import mmap, resource\n"
        "from app.engine.memory import MemoryGuard, _data_bytes, resident_bytes\n"
        "guard = MemoryGuard(400 * 2**20, 1)\nguard.arm()\n"
        "unused = mmap.mmap(-1, 100 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "guard.limit_growth()\n"
        "free = resource.getrlimit(resource.RLIMIT_DATA)[0] - _data_bytes()\n"
        "print(abs(free - (guard.cap - resident_bytes())) < 2**22)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "True\n"


def test_saved_pictures_have_the_requested_mode(tmp_path: Path) -> None:
    save_picture(tmp_path / "x", 0.3, {"format": "PNG", "mode": "I;16"})
    with Image.open(tmp_path / "x") as image:
        assert image.mode == "I;16"


def test_the_limit_of_allocations_is_set_again_after_the_inference() -> None:
    limited: list[int] = []
    guard = MemoryGuard(cap=1 << 40, warn=1, armed=True)
    guard.limit_growth = lambda: limited.append(1)  # type: ignore[method-assign]  # of the test's own process
    guard.make_room(1)
    MemoryGuard(cap=0, warn=1).make_room(1)  # not armed: without a limit
    assert limited == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is read from /proc")
def test_the_address_space_of_the_avif_encoder_is_predicted() -> None:
    code = (
        "from pathlib import Path\n"
        "from app.imaging.encode import encode\n"
        "from tests.support.photos import photo\n"
        "def read(field):\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))\n"
        "image = photo('cat').resize((4242, 2828)).convert('RGBA')\n"
        "encode(image.resize((64, 64)), 'AVIF', 85)\n"
        "before = read('VmSize:')\n"
        "encode(image, 'AVIF', 85)\n"
        "print(read('VmPeak:') - before)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    held = 12 * 4242 * 2828  # photo, colours, alpha and cut-out meanwhile
    assert int(done.stdout) + held <= predict_finishing((4242, 2828), "AVIF", 0)


def test_kept_memory_is_given_back_for_a_photo_that_needs_it() -> None:
    given: list[bool] = []
    guard = MemoryGuard(cap=resident_bytes() + 200 * MEGABYTE, warn=1, armed=True, give_back=lambda: given.append(True))
    guard.limit_growth = lambda: None  # type: ignore[method-assign]  # of the test's own process
    guard.admit(PNG, 100 * MEGABYTE)
    assert not given
    guard.admit(PNG, 250 * MEGABYTE)
    assert given == [True]


def test_freed_memory_is_given_back_before_retained_memory_is_measured() -> None:
    given: list[bool] = []
    guard = MemoryGuard(cap=1 << 40, warn=1, give_back=lambda: given.append(True))
    assert guard.retained_bytes() > 0
    assert given == [True]
