"""Format of log lines, and their file. The line of each request: tests/http/test_request_log.py."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from app import log_format
from tests.support.log_lines import json_lines


def test_a_moved_file_is_reopened(log_file: Path) -> None:
    log_format.configure("INFO", "text", str(log_file))
    logging.getLogger("test").info("before")
    log_file.rename(log_file.with_suffix(".1"))
    logging.getLogger("test").info("after")
    assert "before" in log_file.with_suffix(".1").read_text() and "after" in log_file.read_text()


def test_a_record_may_name_its_request(log_file: Path) -> None:
    log_format.configure("INFO", "json", str(log_file))
    logging.getLogger("app.engine").info("engine.recycled reason=%s", "tasks")
    logging.getLogger("app.engine").error("request failed", extra={"request_id": "abc"})
    assert [(line["message"], line["request_id"]) for line in json_lines(log_file)] == [
        ("engine.recycled reason=tasks", "-"),
        ("request failed", "abc"),
    ]


def test_a_text_line_has_level_process_logger_and_request_id(log_file: Path) -> None:
    log_format.configure("INFO", "text", str(log_file), lambda: "id-1")
    logging.getLogger("test").warning("a message")
    assert f"WARNING [{os.getpid()}] test request_id=id-1 a message" in log_file.read_text()


def test_fields_of_a_record_are_keys_of_the_json_object(log_file: Path) -> None:
    log_format.configure("INFO", "json", str(log_file), lambda: "id-1")
    logging.getLogger("test").info("a message", extra={"fields": {"status": 200}})
    (line,) = json_lines(log_file)
    assert (line["status"], line["request_id"], line["level"]) == (200, "id-1", "INFO")


def test_lines_under_the_level_are_dropped(log_file: Path) -> None:
    log_format.configure("WARNING", "text", str(log_file))
    logging.getLogger("test").info("a message")
    assert log_file.read_text() == ""


def test_without_a_file_lines_go_to_standard_error(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_format.configure("INFO", "text")
    logging.getLogger("test").info("a message")
    assert "a message" in capsys.readouterr().err


def test_a_missing_folder_is_created(log_file: Path) -> None:
    file = log_file.parent / "var/log/service.log"
    log_format.configure("INFO", "text", str(file))
    logging.getLogger("test").info("a message")
    assert "a message" in file.read_text()


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        log_format.configure("INFO", "text", str(tmp_path / "file" / "log"))
