"""A run: bounded work, Ctrl-C, new photos, progress."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from app.cli.remove.files import write_whole
from app.cli.remove.outcomes import Failure, Outcome, Tally
from app.cli.remove.photos import Search
from app.cli.remove.plan import Outputs, service_settings, variants, watched
from app.cli.remove.progress import Bar, Lines
from app.cli.remove.run import SPARE_THREADS, Output, Photo, Rules, Run
from app.engine import submission
from app.engine.submission import Deadline, Priority
from app.errors import ServiceError, ShuttingDown, UnknownForeground
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from app.settings import Settings
from tests.support.doubles import FakePool
from tests.support.photos import jpeg

OPTIONS = RemovalOptions("lite", 2048)
RULES = Rules(max_image_bytes=10**6, timeout=60)


def ignore(*_: object) -> None:
    """Report nothing."""


class CountingPool(FakePool):
    """Remember the priorities, the deadlines, and the sets of options that were submitted together."""

    def __init__(self) -> None:
        super().__init__()
        self.priorities = set[Priority]()
        self.engine_seconds = set[float | None]()
        self.together: list[tuple[RemovalOptions, ...]] = []
        self.errors: dict[RemovalOptions, ServiceError] = {}

    def submit(
        self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE
    ) -> RemovalResult:
        self.priorities.add(priority)
        self.engine_seconds.add(deadline.engine_seconds)
        if error := self.errors.get(request.options):
            raise error
        return super().submit(request, deadline, priority)

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[submission.Outcome]:
        self.together.append(request.all_options)
        return super().submit_all(request, deadline)


def test_photos_are_taken_one_by_one_and_submitted_as_a_batch(tmp_path: Path) -> None:
    pool = CountingPool()
    run = Run(pool, 1, RULES, ignore)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    ahead: list[int] = []

    def photos() -> Iterator[Photo]:
        for number in range(50):
            ahead.append(number - run.tally.done)
            yield Photo(tmp_path / "a.jpg", (Output(tmp_path / f"{number}.png", OPTIONS),))

    run.work(photos())
    assert run.tally.done == 50 and max(ahead) <= 1 + SPARE_THREADS
    assert (pool.priorities, pool.engine_seconds) == ({Priority.BATCH}, {RULES.timeout})


SEVERAL = [replace(OPTIONS, longest_side=side) for side in (100, 200, 300)]


@pytest.fixture
def several(tmp_path: Path) -> Photo:
    """Return a photo with three outputs."""
    (tmp_path / "a.jpg").write_bytes(jpeg())
    outputs = [Output(tmp_path / f"{each.longest_side}/a.png", each) for each in SEVERAL]
    return Photo(tmp_path / "a.jpg", tuple(outputs))


def test_the_outputs_of_a_photo_are_submitted_together(several: Photo) -> None:
    pool = CountingPool()
    run = Run(pool, 1, RULES, ignore)
    run.work(iter([several]))
    assert pool.together == [tuple(SEVERAL)] and run.tally.done == 3
    assert all(target.read_bytes() == b"picture" for target in several.targets)


def test_only_missing_outputs_are_made(several: Photo) -> None:
    pool = CountingPool()
    run = Run(pool, 1, RULES, ignore)
    write_whole(several.outputs[1].target, b"there")
    run.work(iter([several]))
    assert pool.together == [(SEVERAL[0], SEVERAL[2])] and (run.tally.done, run.tally.skipped) == (2, 1)
    run.work(iter([several]))
    assert len(pool.together) == 1 and run.tally.skipped == 4


def test_a_failure_of_one_output_does_not_concern_the_others(several: Photo, tmp_path: Path) -> None:
    pool = CountingPool()
    pool.errors[SEVERAL[0]] = UnknownForeground()
    (tmp_path / "200").write_bytes(b"not a folder")
    outcomes: list[Outcome] = []
    Run(pool, 1, RULES, lambda outcome, tally: outcomes.append(outcome)).work(iter([several]))
    assert [(outcome.state, outcome.code, outcome.target) for outcome in outcomes] == [
        ("failed", "UNKNOWN_FOREGROUND", several.outputs[0].target),
        ("failed", "WRITE_FAILED", several.outputs[1].target),
        ("done", "", several.outputs[2].target),
    ]


def test_a_photo_that_can_not_be_read_is_a_failure_of_each_output(several: Photo) -> None:
    several.source.write_bytes(b"text")
    run = Run(FakePool(), 1, RULES, ignore)
    run.work(iter([several]))
    assert (run.tally.failed, {outcome.code for outcome in run.tally.failures}) == (3, {"UNSUPPORTED_FORMAT"})


def test_an_error_of_the_program_ends_the_run(tmp_path: Path, fake_pool: FakePool) -> None:
    fake_pool.failure = ZeroDivisionError()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    run = Run(fake_pool, 1, RULES, ignore)
    with pytest.raises(ZeroDivisionError):
        run.work(iter([Photo(tmp_path / "a.jpg", (Output(tmp_path / "a.png", OPTIONS),))]))


def test_photos_of_a_closed_pool_are_left_and_not_failed(tmp_path: Path, fake_pool: FakePool) -> None:
    fake_pool.failure = ShuttingDown()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    run = Run(fake_pool, 1, RULES, ignore)
    run.tally.total = 1
    run.work(iter([Photo(tmp_path / "a.jpg", (Output(tmp_path / "a.png", OPTIONS),))]))
    assert (run.tally.failed, run.tally.left) == (0, 1)


def test_ctrl_c_finishes_the_photos_in_work(
    remove: Callable[..., Result], tmp_path: Path, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    announced, submit, echo = threading.Event(), fake_pool.submit, click.echo

    def interrupted(*arguments: Any) -> RemovalResult:
        if not announced.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            announced.wait(60)
        return submit(*arguments)

    def note(message: str, **more: Any) -> None:
        echo(message, **more)
        announced.set()

    monkeypatch.setattr(fake_pool, "submit", interrupted)
    monkeypatch.setattr("app.cli.remove.command.click.echo", note)
    result = remove(tmp_path, "-o", tmp_path / "out")
    done = len(list((tmp_path / "out").iterdir()))
    assert result.exit_code == 1 and 1 <= done <= 1 + SPARE_THREADS
    assert f"{done} done, 0 skipped, 0 failed, {20 - done} left" in result.stderr


def test_a_second_ctrl_c_ends_the_engines(
    remove: Callable[..., Result], photos: Path, tmp_path: Path, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(*_: object) -> RemovalResult:
        while not fake_pool.queue.closed:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        raise ShuttingDown()

    monkeypatch.setattr(fake_pool, "submit", blocked)
    result = remove(photos, "-o", tmp_path / "out")
    assert result.exit_code == 1 and "0 done, 0 skipped, 0 failed, 2 left" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_new_photo_is_taken_once_it_is_unchanged(
    tmp_path: Path, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.remove.plan.WATCH_SECONDS", 0.01)
    run = Run(fake_pool, 1, RULES, ignore)
    out = tmp_path / "out"
    search = Search((tmp_path,), out, False, ignore)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    new = watched(search, Outputs(variants({}, [], Settings()), out), run)
    assert next(new).targets == {out / "a.png"}
    (tmp_path / "b.jpg").write_bytes(jpeg())
    assert next(new).targets == {out / "b.png"}  # a.jpg has no output yet, but is not taken again
    assert run.tally.total == 2
    run.stopped.set()
    assert list(new) == []


def test_the_engines_are_planned_for_the_used_models_alone() -> None:
    settings = service_settings(Settings(models_allowed=("u2net",)), ["lite"], engines=2)
    assert settings.allowed_models[0] == "lite" and "u2net" not in settings.allowed_models
    assert (settings.engine_processes, settings.auto_under_load) == (2, "same")


def test_progress_without_a_terminal_is_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.remove.progress.SECONDS_BETWEEN_LINES", 300.0)
    lines, outcome = Lines(), Outcome.failed(Path("a.jpg"), Failure("READ_FAILED", "No."))
    lines.update(outcome, Tally(4, done=1, failed=1))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("app.cli.remove.progress.SECONDS_BETWEEN_LINES", 0.0)
    lines.update(outcome, Tally(4, done=1, failed=1))
    assert capsys.readouterr().err.startswith("2 of 4, ")


def test_the_bar_names_the_photo_and_the_failures(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(2)
    bar.update(Outcome(Path("x/a.jpg"), "done"), Tally(2, done=1, failed=3))
    bar.close()
    shown = capsys.readouterr().err
    assert "1/2" in shown and "3 failed, a.jpg" in shown
