"""Circuit breaker in front of a client of Redis that the test controls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from app import redis_link
from app.redis_link import Circuit, CircuitOpen
from tests.support.waiting import wait_until


class ClientError(Exception):
    """Failure of the client."""


class Server:
    """Redis, available or not."""

    def __init__(self) -> None:
        self.available = True
        self.calls = 0

    def answer(self) -> str:
        self.calls += 1
        if not self.available:
            raise ClientError
        return "answer"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(redis_link, "PROBE_SECONDS", 0.01)
    return Server()


@pytest.fixture
def client() -> Mock:
    return Mock()


@pytest.fixture
def recovered() -> Mock:
    return Mock()


@pytest.fixture
def circuit(server: Server, client: Mock, recovered: Mock) -> Iterator[Circuit]:
    circuit = Circuit("test", client, server.answer, ClientError, recovered)
    yield circuit
    circuit.stop()


def open_circuit(circuit: Circuit, server: Server) -> None:
    server.available = False
    with pytest.raises(CircuitOpen):
        circuit.call(server.answer, max_wait=300)


def test_a_command_returns_its_result(circuit: Circuit, server: Server) -> None:
    assert circuit.call(server.answer, max_wait=300) == "answer"
    wait_until(circuit.up)


def test_no_probe_is_sent_before_the_first_command(circuit: Circuit, server: Server) -> None:
    assert server.calls == 0
    circuit.call(lambda: None, max_wait=300)
    wait_until(lambda: server.calls > 0)


def test_a_failure_opens_the_circuit_and_drops_idle_connections(circuit: Circuit, server: Server, client: Mock) -> None:
    open_circuit(circuit, server)
    assert not circuit.up()
    disconnect = client.connection_pool.disconnect
    wait_until(lambda: disconnect.called)  # by this thread, or by that of the probes
    disconnect.assert_called_with(inuse_connections=False)


def test_an_open_circuit_sends_no_command(circuit: Circuit, server: Server) -> None:
    open_circuit(circuit, server)
    command = Mock()
    with pytest.raises(CircuitOpen):
        circuit.call(command)
    command.assert_not_called()


def test_a_command_without_an_answer_opens_the_circuit(circuit: Circuit) -> None:
    answered = threading.Event()
    with pytest.raises(CircuitOpen):
        circuit.call(answered.wait, max_wait=0.01)
    answered.set()


def test_an_error_of_the_caller_does_not_open_the_circuit(circuit: Circuit) -> None:
    with pytest.raises(ZeroDivisionError):
        circuit.call(lambda: 1 // 0, max_wait=300)
    wait_until(circuit.up)


def test_a_successful_probe_closes_the_circuit(
    circuit: Circuit, server: Server, recovered: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.redis_link")
    open_circuit(circuit, server)
    server.available = True
    wait_until(circuit.up)
    assert circuit.call(server.answer, max_wait=300) == "answer"
    wait_until(lambda: len(caplog.messages) == 2)  # the circuit is closed a moment before
    recovered.assert_called_once_with()
    assert [message.split()[0] for message in caplog.messages] == ["test.storage_down", "test.storage_up"]


def test_a_stopped_circuit_sends_no_command(circuit: Circuit, server: Server) -> None:
    wait_until(circuit.up)
    circuit.stop()
    with pytest.raises(CircuitOpen):
        circuit.call(server.answer)
