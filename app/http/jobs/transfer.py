"""Contents of stored results in answers that have begun."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from app.jobs.description import short_id
from app.server.flush import AnswerCut

__all__ = ["or_cut"]

log = logging.getLogger("app.jobs")


def or_cut(job_id: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a result; raise AnswerCut, after a line in the log, if it cannot be read any more."""
    try:
        yield from chunks
    except FileNotFoundError as error:
        log.info("job.transfer_cut job=%s the job was deleted", short_id(job_id))
        raise AnswerCut("the job was deleted") from error
    except OSError as error:
        log.warning("job.transfer_cut job=%s error=%.200r", short_id(job_id), error)
        raise AnswerCut(str(error)) from error
