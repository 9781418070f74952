"""Clients of nginx over TLS, each with an address of its own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from itertools import count
from typing import Any

from tests.support.photos import encoded, photo
from tests.support.servers import NginxServer
from tests.support.waiting import wait_until

__all__ = ["Load", "Reply", "ask", "ask_slowly", "connect", "hold", "new_client", "reply"]

_addresses = count(2)


@dataclass(frozen=True)
class Reply:
    """An answer with its raw headers, including repeated ones."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def new_client() -> str:
    """Return an unused loopback address, which nginx sees as that of a client."""
    number = next(_addresses)
    return f"127.0.{number // 250}.{number % 250 + 1}"


def connect(nginx: NginxServer, client: str = "127.0.0.1", timeout: float = 60) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        "127.0.0.1", nginx.https, timeout=timeout, context=nginx.trust(), source_address=(client, 0)
    )


def reply(connection: http.client.HTTPConnection) -> Reply:
    answer = connection.getresponse()
    return Reply(answer.status, answer.headers, answer.read())


def ask(nginx: NginxServer, path: str, body: bytes | None = None, client: str = "127.0.0.1", **headers: str) -> Reply:
    """Send a request through TLS; underscores in names of headers become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(connect(nginx, client)) as connection:
        connection.request("POST" if body else "GET", path, body, named)
        return reply(connection)


def ask_slowly(nginx: NginxServer, path: str, body: bytes, client: str, announced: int) -> Reply:
    """Send a body at a megabyte a second, to its end, and only then read the answer."""
    with closing(connect(nginx, client)) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(announced))
        connection.endheaders()
        for at in range(0, len(body), 50_000):
            connection.send(body[at : at + 50_000])
            time.sleep(0.05)
        return reply(connection)


def hold(nginx: NginxServer, path: str, client: str) -> http.client.HTTPSConnection:
    """Begin an upload and stop sending."""
    connection = connect(nginx, client)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"the rest comes later")
    return connection


class Load:
    """Clients that post one photo after another, each in a thread."""

    def __init__(self, nginx: NginxServer, path: str, clients: int) -> None:
        self._nginx, self._path = nginx, path
        self._image = encoded(photo("coffee").resize((300, 200)), "JPEG", quality=80)
        self._stop = threading.Event()
        self.replies: list[Reply | Exception] = []
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.replies.append(ask(self._nginx, self._path, self._image))
            except (OSError, http.client.HTTPException) as error:
                self.replies.append(error)

    def answered(self, more: int) -> None:
        """Wait for this number of further answers."""
        enough = len(self.replies) + more
        wait_until(lambda: len(self.replies) >= enough)

    def stop(self) -> Counter[object]:
        """Stop, and return the count of each status or type of error."""
        self._stop.set()
        for thread in self.threads:
            thread.join(60)
        return Counter(reply.status if isinstance(reply, Reply) else repr(reply) for reply in self.replies)
