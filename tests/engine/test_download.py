"""Download through rembg's code, from a local server instead of the real one."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pooch
import pytest

from app.engine import weights
from app.engine.models import REGISTRY
from tests.support.onnx_models import write_model

SILUETA = REGISTRY["silueta"]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def served_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a file instead of Silueta's weights, and expect its checksum."""
    file = write_model(SILUETA, tmp_path / "served_file")
    handler = functools.partial(QuietHandler, directory=str(file.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    checksum = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    retrieve = pooch.retrieve

    def from_local_server(url: str, known_hash: str | None, **options: Any) -> str:
        name = url.rpartition("/")[2]
        return str(retrieve(f"http://127.0.0.1:{server.server_port}/{name}", f"md5:{checksum}", **options))

    monkeypatch.setattr(pooch, "retrieve", from_local_server)
    monkeypatch.setenv("REMBG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("U2NET_HOME", raising=False)
    yield file
    server.shutdown()
    server.server_close()


def test_weights_are_downloaded_and_found(served_file: Path, tmp_path: Path) -> None:
    expected = served_file.read_bytes()
    path = weights.fetch(SILUETA)
    assert path == tmp_path / "home/models/silueta/silueta.onnx"
    assert path.read_bytes() == expected


def test_a_wrong_checksum_leaves_nothing_behind(served_file: Path, tmp_path: Path) -> None:
    served_file.write_bytes(b"tampered")
    with pytest.raises(ValueError, match="hash"):
        weights.fetch(SILUETA)
    assert weights.find(SILUETA) is None
