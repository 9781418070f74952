"""Handle of an engine process, over a fake worker that runs a given script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from app.engine import wire
from app.engine.messages import EngineConfig, result_header
from app.engine.process import EngineDied, EngineProcess, NotAccepted
from app.engine.submission import Deadline, Outcome
from app.errors import CorruptImage
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult

ROOT = Path(__file__).parent.parent.parent
CONFIG = EngineConfig("lite", 1, 1, 1)
REQUEST = RemovalRequest(b"photo", RemovalOptions("lite", 100), b"background", "id-1")
RESULT = RemovalResult(b"body", "image/png", 3, 2, Box(1, 2, 3, 4), 0.5, "lite", {"infer": 1.5})

# The fake worker: `header` and `blobs` are those of the last message.
PREAMBLE = """
import os, signal, socket, sys, time
from app.engine import wire

sock = socket.socket(fileno=int(sys.argv[1]))
header, blobs = wire.receive(sock)
"""
ACCEPT = "wire.send(sock, {'accepted': True})\n"
WAIT_FOR_END_OF_FILE = "sock.recv(1)\n"
HANG = "time.sleep(3600)\n"
DEATHS = [
    ("os._exit(3)", "exit status 3", 3, False),
    ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", -signal.SIGKILL, False),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV", -signal.SIGSEGV, True),
    ("os.abort()", "SIGABRT", -signal.SIGABRT, True),
]


class Starter:
    """Start engine processes with a fake worker, and kill them after the test."""

    def __init__(self) -> None:
        self.engines: list[EngineProcess] = []
        self.ended = threading.Event()
        self.script = ""
        self._popen = subprocess.Popen

    def popen(self, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start the fake worker instead of `python -m app.engine.worker`."""
        assert arguments[:3] == [sys.executable, "-m", "app.engine.worker"]
        return self._popen([sys.executable, "-c", PREAMBLE + self.script, *arguments[3:]], cwd=ROOT, **options)

    def __call__(self, script: str) -> EngineProcess:
        self.script = script
        self.engines.append(EngineProcess(CONFIG, on_exit=self.ended.set))
        return self.engines[-1]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    starter = Starter()
    monkeypatch.setattr("app.engine.process.subprocess.Popen", starter.popen)
    yield starter
    for engine in starter.engines:
        engine.kill()


def soon() -> float:
    return time.monotonic() + 0.1


def later() -> float:
    return time.monotonic() + 120


def remove(engine: EngineProcess, request: RemovalRequest = REQUEST, **more: bool) -> list[tuple[int, Outcome]]:
    """Send the request, as the first message: the fake worker needs no configuration."""
    return list(engine.remove(request, Deadline(later()), **more))


# Warm-up


def test_the_first_message_is_the_configuration(start: Starter) -> None:
    engine = start("wire.send(sock, {'ready': True, 'config': header})\n" + WAIT_FOR_END_OF_FILE)
    assert engine.warm_up(later(), first=True) == {"ready": True, "config": json.loads(json.dumps(asdict(CONFIG)))}


def test_a_later_warm_up_is_a_command(start: Starter) -> None:
    engine = start("wire.send(sock, header)\n" + WAIT_FOR_END_OF_FILE)
    assert engine.warm_up(later()) == {"op": "warm"}


def test_the_worker_gets_its_owner_and_one_thread_per_library(start: Starter) -> None:
    engine = start(
        "wire.send(sock, {'owner': int(sys.argv[2]), 'threads': os.environ['OMP_NUM_THREADS']})\n"
        + WAIT_FOR_END_OF_FILE
    )
    assert engine.warm_up(later(), first=True) == {"owner": os.getpid(), "threads": "1"}


@pytest.mark.parametrize(("script", "description", "code", "caused_by_work"), DEATHS)
def test_a_death_during_the_warm_up_is_described(
    script: str, description: str, code: int, caused_by_work: bool, start: Starter
) -> None:
    engine = start(script)
    with pytest.raises(EngineDied, match=f"engine {engine.pid}: {description}") as caught:
        engine.warm_up(later(), first=True)
    assert (caught.value.code, caught.value.caused_by_work) == (code, caused_by_work)
    assert (engine.alive, engine.exit_status, engine.death) == (False, code, description)


@pytest.mark.parametrize(("code", "aborted"), [(-signal.SIGABRT, True), (-signal.SIGSEGV, False), (None, False)])
def test_an_abort_is_recognised(code: int | None, aborted: bool) -> None:
    assert EngineDied("", code).aborted is aborted


# Requests


def test_a_result_is_received_for_an_accepted_request(start: Starter) -> None:
    header = json.dumps(json.dumps(result_header(RESULT) | {"number": 0}))
    engine = start(f"import json\n{ACCEPT}wire.send(sock, json.loads({header}), [b'body'])\n{WAIT_FOR_END_OF_FILE}")
    assert remove(engine) == [(0, RESULT)]


def test_each_outcome_is_received_before_the_next_one_is_finished(start: Starter) -> None:
    header = json.dumps(json.dumps(result_header(RESULT) | {"number": 1}))
    error = "{'number': 0, 'error': {'code': 'CORRUPT_IMAGE', 'message': str(len(header['more_options']))}}"
    engine = start(
        f"import json\n{ACCEPT}wire.send(sock, json.loads({header}), [b'body'])\n"
        f"wire.receive(sock)\nwire.send(sock, {error})\n{WAIT_FOR_END_OF_FILE}"
    )
    outcomes = engine.remove(replace(REQUEST, more_options=(REQUEST.options,)), Deadline(later()))
    assert next(outcomes) == (1, RESULT)
    wire.send(engine._sock, {})
    ((number, outcome),) = outcomes
    assert number == 0 and isinstance(outcome, CorruptImage) and str(outcome) == "1"


@pytest.mark.parametrize("alone", [True, False])
def test_the_engine_gets_the_request_and_whether_it_is_alone(alone: bool, start: Starter) -> None:
    error = "{'code': 'CORRUPT_IMAGE', 'message': repr((header['request_id'], header['alone'], blobs))}"
    engine = start(f"{ACCEPT}wire.send(sock, {{'number': 0, 'error': {error}}})\n{WAIT_FOR_END_OF_FILE}")
    ((_, outcome),) = remove(engine, alone=alone)
    assert isinstance(outcome, CorruptImage)
    assert str(outcome) == repr(("id-1", alone, [b"photo", b"background"]))
    assert engine.alive


@pytest.mark.parametrize(("script", "description", "code", "caused_by_work"), DEATHS)
@pytest.mark.parametrize(("accept", "kind"), [("", NotAccepted), (ACCEPT, EngineDied)])
def test_only_a_death_after_acceptance_is_a_failure_of_the_request(
    accept: str,
    kind: type[EngineDied],
    script: str,
    description: str,
    code: int,
    caused_by_work: bool,
    start: Starter,
) -> None:
    engine = start(accept + script)
    with pytest.raises(EngineDied, match=description) as caught:
        remove(engine)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.caused_by_work) == (code, caused_by_work)


def test_an_engine_that_is_already_gone_has_not_accepted_the_request(start: Starter) -> None:
    engine = start("")
    engine.kill()
    with pytest.raises(NotAccepted):
        remove(engine)


@pytest.mark.parametrize(
    "answer",
    [
        "wire.send(sock, {'x': 1})",
        "wire.send(sock, {'number': 0, 'x': 1})",
        "wire.send(sock, {'number': 0, 'error': {'x': 1}})",
        "sock.sendall(bytes([255] * 8))",
    ],
)
def test_an_invalid_answer_is_a_death_without_exit_status(answer: str, start: Starter) -> None:
    engine = start(f"{ACCEPT}{answer}\n{HANG}")
    with pytest.raises(EngineDied, match="running") as caught:
        remove(engine)
    assert caught.value.code is None and not caught.value.caused_by_work


# Deadlines


def test_a_warm_up_ends_at_its_deadline(start: Starter) -> None:
    with pytest.raises(TimeoutError):
        start(HANG).warm_up(soon(), first=True)


@pytest.mark.parametrize("script", [HANG, ACCEPT + HANG], ids=["before acceptance", "after acceptance"])
def test_a_request_ends_at_its_deadline(script: str, start: Starter) -> None:
    engine = start("wire.send(sock, {})\nwire.receive(sock)\n" + script)
    engine.warm_up(later(), first=True)
    with pytest.raises(TimeoutError):
        list(engine.remove(REQUEST, Deadline(soon())))


@pytest.mark.parametrize("seconds", [0.1, 120.0])
def test_each_result_has_its_time(seconds: float, start: Starter) -> None:
    error = "{'number': 0, 'error': {'code': 'CORRUPT_IMAGE', 'message': 'x'}}"
    engine = start(f"{ACCEPT}wire.send(sock, {error})\nwire.receive(sock)\nwire.send(sock, {error})\n{HANG}")
    deadlines = iter([later(), time.monotonic() + seconds, later()])

    class Times(Deadline):
        def in_engine(self) -> float:
            return next(deadlines)

    outcomes = engine.remove(replace(REQUEST, more_options=(REQUEST.options,)), Times(0))
    next(outcomes)
    if seconds < 1:
        with pytest.raises(TimeoutError):
            next(outcomes)
    else:
        wire.send(engine._sock, {})
        assert isinstance(next(outcomes)[1], CorruptImage)


# End


def test_kill_ends_a_hanging_engine(start: Starter) -> None:
    engine = start("wire.send(sock, {})\n" + HANG)
    engine.warm_up(later(), first=True)
    assert (engine.alive, engine.exit_status, engine.death) == (True, None, "running")
    engine.kill()
    assert (engine.alive, engine.exit_status, engine.death) == (False, -signal.SIGKILL, "SIGKILL")
    assert start.ended.wait(120)


def test_hang_up_lets_the_engine_end_by_end_of_file(start: Starter) -> None:
    engine = start("wire.send(sock, {})\nsys.exit(5 if sock.recv(1) == b'' else 6)\n")
    engine.warm_up(later(), first=True)
    engine.hang_up()
    engine.hang_up()  # has no effect
    assert start.ended.wait(120)
    assert engine.exit_status == 5
