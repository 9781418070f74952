"""ZIP of a job's results, made while it is sent: stored without compression, `manifest.json` at the end.

By zipstream-ng: it computes the length of the ZIP beforehand, and writes checksums behind each file. stream-zip needs a
file's checksum before the file, or the whole file in memory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zipstream import ZipStream

from app.jobs.description import describe, describe_item, short_id
from app.jobs.model import Item, Job, Output
from app.jobs.store import JobFiles
from app.server.flush import AnswerCut

__all__ = ["archive", "result_content"]

log = logging.getLogger("app.jobs")

MANIFEST = "manifest.json"


def archive(job: Job, items: Sequence[Item], files: JobFiles) -> ZipStream:
    """Return the ZIP of the outputs so far; its `len` is the number of its bytes.

    Its iterator raises AnswerCut if an output cannot be read any more.
    """
    zipped = ZipStream(sized=True)
    for item in items:
        for output in item.outputs:
            zipped.add(result_content(job.id, _chunks(files, output)), output.path, size=output.size)
    zipped.add(json.dumps(_manifest(job, items), ensure_ascii=False, indent=1), MANIFEST)
    return zipped


def result_content(job_id: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a result; raise AnswerCut, after a line in the log, if it cannot be read any more."""
    try:
        yield from chunks
    except FileNotFoundError as error:
        log.info("job.transfer_cut job=%s the job was deleted", short_id(job_id))
        raise AnswerCut("the job was deleted") from error
    except OSError as error:
        log.warning("job.transfer_cut job=%s error=%.200r", short_id(job_id), error)
        raise AnswerCut(str(error)) from error


def _chunks(files: JobFiles, output: Output) -> Iterator[bytes]:
    """Open an output when the ZIP comes to it: a job may have more results than a process open files."""
    yield from files.chunks(output.key)


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
