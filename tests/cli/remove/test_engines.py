"""The command with its own engines and the embedded models, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.engine.observer import EngineObserver
from tests.support.configuration import ROOT
from tests.support.photos import jpeg, opened


def remove(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "app", "remove", "--model", "lite", "--engines", "1", *map(str, arguments)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        **more,
    )


def test_a_folder_has_a_cutout_of_each_photo(tmp_path: Path) -> None:
    for name in ("coffee", "cat"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(name))
    (tmp_path / "damaged.jpg").write_bytes(jpeg()[:2000])
    done = remove(tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 1 and b"damaged.jpg: CORRUPT_IMAGE: " in done.stderr and done.stdout == b""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat.png", "coffee.png"]
    coffee = opened((tmp_path / "out/coffee.png").read_bytes())
    assert (coffee.mode, coffee.size) == ("RGBA", (600, 400)) and coffee.getchannel("A").getpixel((0, 0)) == 0


def test_stdout_has_the_picture_alone() -> None:
    done = remove("-", "--format", "webp", input=jpeg("coffee"))
    assert (done.returncode, done.stderr) == (0, b"") and opened(done.stdout).format == "WEBP"


def test_presets_are_made_from_one_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("coffee", "cat"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(name))
    stages: list[dict[str, float]] = []
    monkeypatch.setattr(EngineObserver, "removed", lambda self, request, result: stages.append(result.stages_ms))
    presets = ("--preset=amazon", "--preset=instagram", "--preset=thumbnail")
    arguments = ["remove", "--model=lite", "--engines=1", *presets, str(tmp_path), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0 and "6 done, 0 skipped, 0 failed" in done.stderr
    assert (len(stages), sum("infer" in each for each in stages)) == (6, 2)
    sizes = {"amazon": (2000, 2000), "instagram": (1080, 1080), "thumbnail": (300, 200)}
    for preset, size in sizes.items():
        (coffee,) = (tmp_path / "out" / preset).glob("coffee.*")
        assert opened(coffee.read_bytes()).size == size
