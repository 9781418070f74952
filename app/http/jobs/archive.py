"""ZIP of a job's results, made while it is sent: stored without compression, `manifest.json` at the end.

By zipstream-ng: it computes the length of the ZIP beforehand, and writes checksums behind each file. stream-zip needs a
file's checksum before the file, or the whole file in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from zipstream import ZipStream

from app.http.jobs.transfer import or_cut
from app.jobs.description import describe, describe_item
from app.jobs.model import Item, Job, Output
from app.jobs.store import JobFiles

__all__ = ["MANIFEST", "archive"]

MANIFEST = "manifest.json"


class _Content:
    """Content of an output, opened when the ZIP comes to it: a job may have more results than a process open files."""

    def __init__(self, job_id: str, files: JobFiles, output: Output) -> None:
        self._job_id, self._files, self._output = job_id, files, output

    def __iter__(self) -> Iterator[bytes]:
        return or_cut(self._job_id, self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        yield from self._files.chunks(self._output.key)


def archive(job: Job, items: Sequence[Item], files: JobFiles) -> ZipStream:
    """Return the ZIP of the outputs so far; its `len` is the number of its bytes.

    Its iterator raises AnswerCut if an output cannot be read any more.
    """
    zipped = ZipStream(sized=True)
    for item in items:
        for output in item.outputs:
            zipped.add(_Content(job.id, files, output), output.path, size=output.size)
    zipped.add(json.dumps(_manifest(job, items), ensure_ascii=False, indent=1), MANIFEST)
    return zipped


def _manifest(job: Job, items: Sequence[Item]) -> dict[str, Any]:
    """Return the job as it is answered, with the paths of results instead of links and id.

    Without API keys the id is a secret, and people pass a ZIP on.
    """
    described = {name: value for name, value in describe(job).items() if name not in {"id", "links"}}
    return described | {"items": [_listed(job, item) for item in items]}


def _listed(job: Job, item: Item) -> dict[str, Any]:
    described = describe_item(job, item)
    for result, output in zip(described["results"], item.outputs, strict=True):
        del result["link"]
        result["path"] = output.path
    return described
