"""Ask the service on this machine whether it is ready: `python -m app.healthcheck`, for containers without curl.

Exit status 0 when /health/ready says 200, else 1 with the reason. Imports the standard library only, since it runs
every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys

__all__ = ["main"]

SECONDS = 4.0


def main() -> str | None:
    """Return None when the service is ready, else what it said."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 5001), timeout=SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body = answer.read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    return None if answer.status == http.client.OK else f"{answer.status} {body}"


if __name__ == "__main__":
    sys.exit(main())
