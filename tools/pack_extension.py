"""Packer of the browser extension: a folder to load unpacked and a reproducible ZIP for each browser family.

python -m tools.pack_extension build/extension
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["BROWSERS", "archive", "files", "manifest", "pack"]

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "extension"
SHARED = ROOT / "app/http/page/assets"
SHARED_NAMES = ("canvas.js", "dom.js", "icon.svg", "page.css", "service.js", "touchup.js", "viewer.js", "words.js")
SUFFIXES = {".css", ".html", ".js"}
# Edge takes Chrome's. The key of the manifest's background that each one reads, and keys of the other one.
BROWSERS = {
    "chrome": ("service_worker", ("browser_specific_settings",)),
    "firefox": ("scripts", ("minimum_chrome_version",)),
}
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of ZIP


def manifest(browser: str) -> dict[str, Any]:
    """Return the manifest for one browser family, without the keys of the other."""
    background, foreign = BROWSERS[browser]
    whole: dict[str, Any] = json.loads((SOURCE / "manifest.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in whole.items() if key not in foreign}
    return kept | {"background": {key: whole["background"][key] for key in (background, "type")}}


def files(browser: str) -> dict[str, bytes]:
    """Return the files of the extension by name, sorted."""
    own = [path for path in SOURCE.iterdir() if path.suffix in SUFFIXES]
    found = {path.name: path.read_bytes() for path in own}
    found |= {f"icons/{path.name}": path.read_bytes() for path in (SOURCE / "icons").glob("*.png")}
    found |= {f"shared/{name}": (SHARED / name).read_bytes() for name in SHARED_NAMES}
    found["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    found["manifest.json"] = json.dumps(manifest(browser), indent=2).encode() + b"\n"
    return dict(sorted(found.items()))


def archive(path: Path, contents: dict[str, bytes]) -> None:
    """Write a ZIP with the same bytes each time: fixed times and rights."""
    with zipfile.ZipFile(path, "w") as target:
        for name, body in contents.items():
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, also on Windows
            target.writestr(entry, body, zipfile.ZIP_STORED)  # deflate differs between versions of zlib


def pack(folder: Path) -> list[Path]:
    """Write folder and ZIP for each browser family; return the ZIPs."""
    archives = []
    for browser in BROWSERS:
        unpacked = folder / browser
        shutil.rmtree(unpacked, ignore_errors=True)
        contents = files(browser)
        for name, body in contents.items():
            (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name).write_bytes(body)
        archives.append(folder / f"background-remover-{browser}.zip")
        archive(archives[-1], contents)
    return archives


if __name__ == "__main__":
    for written in pack(Path(sys.argv[1])):
        sys.stdout.write(f"{written}\n")
