"""Servers that the service works with, real ones in processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import wait_until

__all__ = ["RedisServer", "binary"]


@cache
def binary(name: str) -> str:
    """Return the path of a server's program, installed from the package of that name if need be; skip without it."""
    if shutil.which(name) is None and shutil.which("apt-get") and os.geteuid() == 0:
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", name]):
            subprocess.run(command, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here, and only root could install it: apt-get install {name}")
    return found


@dataclass
class RedisServer:
    """A Redis on loopback that keeps nothing on disk."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen([binary("redis-server"), *options], stdout=subprocess.DEVNULL)
        wait_until(self.answers)
        return self

    def answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, line: str) -> bytes:
        """Send one inline command and return the answer as it came."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(line.encode() + b"\r\n")
            return connection.recv(65_536)

    def kill(self) -> None:
        """End it at once, with all it has counted."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Have it accept connections and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
