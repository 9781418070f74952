"""Health check of the service on this machine, for containers without curl: `python -m app.healthcheck`.

Exit status 0 if /health/ready answers 200, else 1 with the reason. Imports the standard library only, since it runs
every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys

__all__ = ["main"]

TIMEOUT_SECONDS = 4.0


def main() -> str | None:
    """Return None if the service is ready, else the reason."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 5001), timeout=TIMEOUT_SECONDS)
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
