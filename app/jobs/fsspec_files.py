"""Files of jobs in an S3-compatible store, by fsspec and s3fs.

Address of the service and credentials are those of every S3 client: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import fsspec
from aiohttp import ClientError
from botocore.exceptions import BotoCoreError

__all__ = ["FsspecFiles"]

# Bytes of one part of an upload, the least that S3 accepts: so much of an open file is in memory.
PART_BYTES = 5 << 20
CHUNK_BYTES = 1 << 20
# Seconds for a connection and for the next bytes of an answer; s3fs itself repeats requests.
CLIENT = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 1}}
# Seconds for which a successful check counts: every job begins with one.
CHECK_SECONDS = 10.0
PROBE, PROBE_CONTENT = "probe", b"probe"
# What is not an OSError: no connection, no credentials; a connection lost in an answer.
FAILURES = (BotoCoreError, ClientError)


class FsspecFiles:
    """Files below a URL such as s3://bucket/prefix; no listing is cached."""

    def __init__(self, url: str) -> None:
        self._system, root = fsspec.core.url_to_fs(
            url, config_kwargs=CLIENT, use_listings_cache=False, skip_instance_cache=True
        )
        self._root = root.rstrip("/")
        self._checked = -CHECK_SECONDS

    @contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        """Return a file to write; it appears under its key when the block ends without an exception.

        A small file is sent in one request, a larger one in parts that the store joins at the end.
        """
        with _os_errors():
            file = self._system.open(self._path(key), "wb", block_size=PART_BYTES)
        try:
            yield cast("BinaryIO", _Writer(file))
            with _os_errors():
                file.close()
        except BaseException:
            file.closed = True  # otherwise its finaliser would store what was written
            with _os_errors():
                file.discard()
            raise

    def sync(self, keys: Sequence[str]) -> None:
        """Do nothing: an object that appears is durable."""

    def read(self, key: str) -> bytes:
        """Return a file's content; after a failure an earlier check does not count any more."""
        try:
            with _os_errors():
                return cast("bytes", self._system.cat_file(self._path(key)))
        except OSError:
            self._checked = -CHECK_SECONDS
            raise

    def chunks(self, key: str) -> Iterator[bytes]:
        """Return an iterator over a file's content in pieces of at most 1 MB; the file is opened before the first."""
        with _os_errors():
            file = self._system.open(self._path(key), "rb", block_size=CHUNK_BYTES, cache_type="none")
        return _pieces(file)

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job; also if there are none."""
        with _os_errors():
            if paths := self._system.find(self._path(job_id)):
                self._system.rm(paths)

    def job_ids(self, older_than: float) -> Sequence[str]:
        """Return the ids of jobs with files that were all written before a time."""
        with _os_errors():
            newest: dict[str, float] = {}
            for path, details in self._system.find(self._root, detail=True).items():
                job_id, _, name = path.removeprefix(self._root).lstrip("/").partition("/")
                if name:
                    newest[job_id] = max(newest.get(job_id, 0.0), details["LastModified"].timestamp())
        return [job_id for job_id, written in newest.items() if written < older_than]

    def check(self) -> None:
        """Raise OSError if files cannot be written and read now."""
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        with _os_errors():
            self._system.pipe_file(self._path(PROBE), PROBE_CONTENT)
            self._system.cat_file(self._path(PROBE))
        self._checked = time.monotonic()

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


class _Writer:
    """A file's `write`, with other errors as OSError."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write bytes."""
        with _os_errors():
            return cast("int", self._file.write(data))


def _pieces(file: Any) -> Iterator[bytes]:
    with file:
        while True:
            with _os_errors():
                piece = file.read(CHUNK_BYTES)
            if not piece:
                return
            yield piece


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raise OSError for errors of the store's client."""
    try:
        yield
    except FAILURES as error:
        raise OSError(f"storage: {error}") from error
