"""ZIPs of the browser extension: reproducible, complete, with least permissions."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest

from app.options.presets import BUILT_IN
from tests.support.configuration import ROOT
from tools.pack_extension import BROWSERS, files, manifest, pack


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = ([hashlib.sha256(path.read_bytes()).hexdigest() for path in pack(tmp_path / n)] for n in "ab")
    assert first == second


def test_the_zip_has_the_files_of_the_folder(tmp_path: Path) -> None:
    for path in pack(tmp_path):
        folder = tmp_path / path.stem.rpartition("-")[2]
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == sorted(archive.namelist())
            assert {name: archive.read(name) for name in archive.namelist()} == {
                str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
            }


@pytest.mark.parametrize("browser", BROWSERS)
def test_permissions_are_the_least(browser: str) -> None:
    found = manifest(browser)
    assert found["permissions"] == ["contextMenus", "storage", "activeTab", "scripting"]
    assert "host_permissions" not in found


def test_each_browser_gets_its_background() -> None:
    assert manifest("chrome")["background"] == {"service_worker": "background.js", "type": "module"}
    assert manifest("firefox")["background"] == {"scripts": ["background.js"], "type": "module"}


@pytest.mark.parametrize("browser", BROWSERS)
def test_every_file_that_is_named_is_packed(browser: str) -> None:
    """An import in a comment is for types only."""
    packed = files(browser)
    for name, body in packed.items():
        if not name.endswith((".html", ".js")):
            continue
        text = re.sub(r"/\*\*.*?\*/", "", body.decode(), flags=re.S)
        pattern = r'(?:src|href)="([\w./-]+)"' if name.endswith(".html") else r'from "([\w./-]+)"'
        for target in re.findall(pattern, text):
            assert (Path(name).parent / target).as_posix() in packed, (name, target)


def test_the_manifest_names_the_icons() -> None:
    packed = files("chrome")
    icons = json.loads(packed["manifest.json"])["icons"]
    assert set(icons.values()) == {name for name in packed if name.startswith("icons/")}


def test_the_options_name_every_preset() -> None:
    options = (ROOT / "extension" / "options.html").read_text()
    (named,) = re.findall(r'<datalist id="presets">(.*?)</datalist>', options, re.DOTALL)

    assert set(re.findall(r'value="([^"]+)"', named)) == set(BUILT_IN)
