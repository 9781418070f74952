"""Real servers for the tests, in separate processes: Redis, nginx, a store that speaks S3."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.support.configuration import ROOT
from tests.support.installing import installing
from tests.support.waiting import wait_until

__all__ = ["NginxServer", "RedisServer", "S3Server", "binary"]


@cache
def binary(name: str, package: str = "") -> str:
    """Return the path of a program, installed from its package (of the same name) if necessary; skip without it."""
    package = package or name
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # servers of Debian, not in the PATH of users
    with installing():
        if shutil.which(name, path=path) is None and shutil.which("apt-get") and os.geteuid() == 0:
            for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
                subprocess.run(command, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is missing, and only root can install it: apt-get install {package}")
    return found


@dataclass
class RedisServer:
    """A Redis on loopback; it stores nothing on disk unless `durable`."""

    port: int
    folder: Path
    durable: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        options += ["--appendonly", "yes"] if self.durable else []
        self.process = subprocess.Popen([binary("redis-server"), *options], stdout=subprocess.DEVNULL)
        wait_until(self.answers)
        return self

    def answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, line: str) -> bytes:
        """Send one inline command and return the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(line.encode() + b"\r\n")
            return connection.recv(65_536)

    def kill(self) -> None:
        """End it at once, with the loss of everything unless it is durable."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it, so that it accepts connections and never answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@dataclass
class S3Server:
    """moto's server on loopback: it speaks S3 and keeps everything in memory."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of every S3 client that uses it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> S3Server:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.answers)
        return self

    def answers(self) -> bool:
        try:
            return self.request("GET", "/") == 200
        except OSError:
            return False

    def request(self, method: str, path: str) -> int:
        """Send a request without a signature, which moto does not check; return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    def make_bucket(self, name: str) -> str:
        """Make an empty bucket and return its name."""
        assert self.request("PUT", f"/{name}") == 200
        return name

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class NginxServer:
    """nginx on loopback with nginx.conf, except for addresses, paths and the changes of a test."""

    folder: Path
    http: int
    https: int
    instances: Sequence[int]
    changes: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def certificate(self) -> Path:
        return self.folder / "fullchain.pem"

    @property
    def configuration(self) -> Path:
        return self.folder / "nginx.conf"

    def start(self) -> NginxServer:
        return self.start_with("")

    def start_with(self, text: str) -> NginxServer:
        """Start with a variant of nginx.conf."""
        self.prepare(text)
        command = [binary("nginx"), "-c", str(self.configuration), "-g", "daemon off;"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(self.listens)
        return self

    def prepare(self, text: str = "") -> None:
        """Write the configuration, by default nginx.conf, and a self-signed certificate."""
        text = text or (ROOT / "nginx.conf").read_text(encoding="utf-8")
        for shipped, ours in (self._addresses_and_paths() | dict(self.changes)).items():
            assert shipped in text, f"nginx.conf has no {shipped!r}"
            text = text.replace(shipped, ours)
        self.configuration.write_text(text, encoding="utf-8")
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(self.folder / "privkey.pem"), "-out", str(self.certificate)]
        command = [binary("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)

    def _addresses_and_paths(self) -> dict[str, str]:
        first, *others = (f"server 127.0.0.1:{port} max_fails" for port in self.instances)
        temporary = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in TEMPORARY)
        return {
            "user www-data;": "user root;" if os.geteuid() == 0 else "",  # the owner of the folder
            "http {": f"http {{ {temporary}",
            "/run/nginx.pid": f"{self.folder}/pid",
            "/var/log/nginx": str(self.folder),
            "/etc/nginx/tls": str(self.folder),
            "server 127.0.0.1:5001 max_fails": first,
            "server 127.0.0.1:5002 max_fails": others[0] if others else "#",
            "listen 80 ": f"listen 127.0.0.1:{self.http} ",
            "listen 443 ": f"listen 127.0.0.1:{self.https} ",
            "listen [::]": "# listen [::]",  # not every machine has IPv6
        }

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.https), 60).close()
        except OSError:
            return False
        return True

    def trust(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
