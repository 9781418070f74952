"""Steps of an answer: each may run in another thread, and none at the same time as the application's clean-up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from gunicorn.config import Config

from app.server.flush import Flush
from app.server.heads import parse_head
from app.server.reply import Reply
from tests.support.wsgi_server import Application

state: ContextVar[str] = ContextVar("state")


def reply(application: Application) -> Reply:
    config, client = Config(), ("127.0.0.1", 1)
    request = parse_head(config, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", client)
    return Reply(application, request, ("127.0.0.1", 80), config, client)


def in_another_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(60)


def test_context_variables_are_the_same_in_all_steps() -> None:
    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        token = state.set("request")
        try:
            yield Flush(b"first")
            yield Flush(state.get().encode())
        finally:
            state.reset(token)

    answer = reply(application)
    assert b"first" in b"".join(in_another_thread(answer.step))
    assert b"request" in b"".join(in_another_thread(answer.step))
    in_another_thread(answer.close)


def test_the_clean_up_waits_for_a_step_in_progress() -> None:
    began, go_on, order = threading.Event(), threading.Event(), list[str]()

    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            began.set()
            assert go_on.wait(60)
            order.append("step")
            yield Flush(b"first")
        finally:
            order.append("clean-up")

    answer = reply(application)
    with ThreadPoolExecutor(2) as pool:
        step = pool.submit(answer.step)
        assert began.wait(60)
        closed = pool.submit(answer.close)
        go_on.set()
        step.result(60)
        closed.result(60)
    assert order == ["step", "clean-up"]
