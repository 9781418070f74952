"""API keys: sources, changes of the file, invalid files."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.keys import ApiKey, KeyRing, check_keys
from app.settings import SettingsError
from tests.support.api_keys import KEYS, sha
from tests.support.clock import Clock


def test_keys_of_the_setting_are_named_by_number() -> None:
    ring = KeyRing(KEYS)
    assert ring.find("first-secret") == ApiKey("key-1", bytes.fromhex(sha("first-secret")))
    assert ring.find("nonsense") is None


def test_a_file_gives_names_and_limits(keys_file: Path) -> None:
    ring = KeyRing(KEYS, keys_file)
    found = [ring.find(key) for key in ("shop-key", "ci-key", "first-secret")]
    assert [(key.name, key.per_hour) for key in found if key] == [("shop", 100), ("ci.bot", None), ("key-1", None)]


def test_every_key_is_compared(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a wrong key must not depend on its similarity to a valid one."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("app.keys.hmac.compare_digest", compare)
    ring = KeyRing(KEYS, keys_file)
    for key in ("first-secret", "ci-key", "wrong"):
        compared.clear()
        ring.find(key)
        assert len(compared) == 4


INVALID_LINES = [
    ("shop", "name:sha256hex:per_hour"),
    (f"shop:{sha('a')}", "name:sha256hex:per_hour"),
    (f"shop:{sha('a')}:1:2", "name:sha256hex:per_hour"),
    (f":{sha('a')}:", "name"),
    (f"a b:{sha('a')}:", "name"),
    ("shop:my-plain-secret:10", "SHA-256"),
    (f"shop:{sha('a')[:-1]}:10", "SHA-256"),
    (f"shop:{sha('a')}:-1", "per_hour"),
    (f"shop:{sha('a')}:many", "per_hour"),
    (f"good:{sha('a')}:", "taken"),
    (f"key-1:{sha('a')}:", "taken"),
    (f"other:{sha('good')}:", "twice"),
    (f"other:{sha('first-secret')}:", "twice"),
]


@pytest.mark.parametrize(("line", "reason"), INVALID_LINES)
def test_an_invalid_line_stops_the_start_and_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# keys\ngood:{sha('good')}:5\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        check_keys(KEYS, path)
    message = str(caught.value)
    assert f"API_KEYS_FILE='{path}', line 3: " in message
    assert reason in message
    assert "my-plain-secret" not in message and sha("a") not in message


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="API_KEYS_FILE="):
        check_keys((), path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("app.keys.time", SimpleNamespace(monotonic=clock))
    return clock


def accepted(ring: KeyRing, *keys: str) -> list[bool]:
    return [bool(ring.find(key)) for key in keys]


def test_a_changed_file_is_read_again(keys_file: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ring = KeyRing(KEYS, keys_file)
    keys_file.write_text(f"new:{sha('new-key')}:\n")
    assert accepted(ring, "new-key", "shop-key", "first-secret") == [False, True, True]
    clock.now += 1
    assert accepted(ring, "new-key", "shop-key", "first-secret") == [True, False, True]
    assert caplog.messages == ["keys.reread keys=3"]


def test_a_replaced_file_is_read_again(keys_file: Path, clock: Clock) -> None:
    ring, status = KeyRing((), keys_file), keys_file.stat()
    other = keys_file.with_name("other")
    other.write_text(keys_file.read_text().replace(sha("shop-key"), sha("new-key")))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(keys_file)
    clock.now += 1
    assert accepted(ring, "new-key", "shop-key") == [True, False]


def test_an_unchanged_file_is_not_read_again(keys_file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing((), keys_file)
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: pytest.fail("was read"))
    clock.now += 60
    assert accepted(ring, "shop-key") == [True]


@pytest.mark.parametrize("content", ["nonsense\n", None])
def test_an_invalid_file_keeps_the_old_keys_and_is_logged_once(
    keys_file: Path, clock: Clock, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing((), keys_file)
    if content is None:
        keys_file.unlink()
    else:
        keys_file.write_text(content)
    for _ in range(3):
        clock.now += 1
        assert accepted(ring, "shop-key") == [True]
    (record,) = caplog.records
    assert record.levelname == "ERROR" and record.getMessage().startswith("keys.kept keys=2")
    assert str(keys_file) in caplog.text and "nonsense" not in caplog.text


def test_each_invalid_version_is_logged(keys_file: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    ring = KeyRing((), keys_file)
    for content in ("nonsense\n", "more nonsense\n"):
        keys_file.write_text(content)
        clock.now += 1
        ring.find("any")
    assert len(caplog.records) == 2


@pytest.mark.parametrize("content", ["nonsense\n", None])
def test_a_worker_that_starts_with_an_invalid_file_still_requires_a_key(
    keys_file: Path, clock: Clock, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    good = keys_file.read_text()
    keys_file.unlink()
    if content is not None:
        keys_file.write_text(content)
    ring, alone = KeyRing(KEYS, keys_file), KeyRing((), keys_file)
    assert ring.required and alone.required
    assert accepted(ring, "shop-key", "first-secret") == [False, True] and accepted(alone, "shop-key") == [False]
    assert caplog.text.count("keys.kept") == 2
    keys_file.write_text(good)
    clock.now += 1
    assert accepted(ring, "shop-key", "first-secret") == [True, True] and accepted(alone, "shop-key") == [True]
