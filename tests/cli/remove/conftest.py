"""The command `remove` over the fake pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from tests.support.doubles import FakePool
from tests.support.photos import jpeg


@pytest.fixture
def remove(fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command with arguments; its engines are the fake pool."""
    monkeypatch.setattr("app.cli.remove.command.make_pool", lambda settings: (fake_pool, 1))
    return lambda *arguments, **more: CliRunner().invoke(main, ["remove", *map(str, arguments)], **more)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with three photos, one of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b c.jpg", "sub/d.jpg"):
        (folder / name).write_bytes(jpeg())
    return folder
