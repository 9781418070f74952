"""One photo from stdin, to stdout or a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from app.cli.remove.files import write_whole
from app.cli.remove.outcomes import Failure
from app.engine.pool import EnginePool
from app.engine.submission import Deadline, Priority
from app.errors import ServiceError
from app.imaging.formats import check_image
from app.removal import RemovalOptions, RemovalRequest
from app.settings import Settings

__all__ = ["remove_stream"]


def remove_stream(
    options: RemovalOptions,
    settings: Settings,
    background: bytes,
    output: Path | None,
    make_pool: Callable[[Settings], tuple[EnginePool, int]],
) -> int:
    """Process the photo on stdin and return the exit status; stdout has the picture or nothing."""
    image = sys.stdin.buffer.read(settings.max_image_bytes + 1)
    pool, _ = make_pool(settings)
    try:
        check_image(image, settings.max_image_bytes)
        pool.start()
        request = RemovalRequest(image, options, background)
        result = pool.submit(request, Deadline.from_start(settings.request_timeout), Priority.BATCH)
        if output is None or output == Path("-"):
            sys.stdout.buffer.write(result.body)
            sys.stdout.buffer.flush()
        else:
            write_whole(output, result.body)
    except ServiceError as error:
        click.echo(f"-: {error.code}: {error.message} {error.advice}", err=True)
        return 1
    except Failure as error:
        click.echo(f"-: {error.code}: {error}", err=True)
        return 1
    except OSError as error:
        click.echo(f"-: WRITE_FAILED: {error.strerror}", err=True)
        return 1
    finally:
        pool.stop()
    return 0
