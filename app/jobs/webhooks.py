"""Webhooks: signed POST requests when jobs end, each repeated until it is answered with success, for an hour.

The body is the job without its items, so that its size does not depend on their number.
A receiver may get a webhook twice: its first answer may be lost, or this process may end before it has stored it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable

from app.errors import UrlRefused
from app.fetch.url_fetcher import UrlFetcher
from app.jobs.description import describe, short_id
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Delivery
from app.jobs.store import JobStore
from app.jobs.work import JobObserver
from app.periodic import PeriodicThread

__all__ = ["PAUSES", "SIGNATURE", "Webhooks", "sign"]

log = logging.getLogger("app.jobs")

SIGNATURE = "X-Signature"
# Seconds between the attempts: an hour in all.
PAUSES = (10, 30, 60, 120, 300, 600, 1080, 1400)
ATTEMPT_SECONDS = 10.0
# For a process that ends during an attempt: another one repeats it after this time.
LEASE_SECONDS = 60.0
# Attempts at once, so that silent receivers do not delay the others.
MAX_CONCURRENT = 4


class Webhooks(PeriodicThread):
    """Thread that takes due webhooks from the store, and threads of the attempts.

    After the stop the store keeps attempts that have not ended.
    """

    name, seconds = "webhooks", 1.0

    def __init__(
        self,
        store: JobStore,
        fetcher: UrlFetcher,
        secret: str,
        observer: JobObserver,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._store = store
        self._fetcher = fetcher
        self._secret = secret
        self._observer = observer
        self._clock = clock
        self._slots = threading.Semaphore(MAX_CONCURRENT)

    def work(self) -> None:
        """Begin an attempt of each webhook that is due, while there are free threads."""
        while not self._stopped.is_set() and self._slots.acquire(blocking=False):
            delivery = self._taken()
            if delivery is None:
                self._slots.release()
                return
            threading.Thread(target=self._send, args=(delivery,), name="webhook", daemon=True).start()

    def _taken(self) -> Delivery | None:
        try:
            return self._store.take_delivery(self._clock(), LEASE_SECONDS)
        except JobsUnavailable:  # logged by the store
            return None

    def _send(self, delivery: Delivery) -> None:
        try:
            self._attempt(delivery)
        except JobsUnavailable:  # the attempt is repeated after its lease
            pass
        except Exception:  # the attempt is repeated after its lease, which must not depend on the cause
            log.exception("webhook.broken")
        finally:
            self._slots.release()

    def _attempt(self, delivery: Delivery) -> None:
        """Send a webhook once and store when it is sent again, if at all."""
        job = self._store.job(delivery.job_id)
        if job is None:  # deleted since
            return
        content = describe(job) | {"timestamp": int(self._clock())}
        problem = self._post(delivery.url, json.dumps(content).encode())
        if not problem:
            outcome, next_at = "delivered", None
        elif delivery.attempts < len(PAUSES):
            outcome, next_at = "retried", self._clock() + PAUSES[delivery.attempts]
        else:
            outcome, next_at = "abandoned", None
        self._store.end_delivery(job.id, next_at)
        self._observer.webhook_sent(outcome)
        if problem:
            log.warning("webhook.not_delivered job=%s attempt=%d %s", short_id(job.id), delivery.attempts + 1, problem)
        else:
            log.info("webhook.delivered job=%s attempt=%d", short_id(job.id), delivery.attempts + 1)

    def _post(self, url: str, body: bytes) -> str:
        """Send a body; return why this was not successful, empty for success."""
        headers = {"Content-Type": "application/json", SIGNATURE: sign(self._secret, body)}
        try:
            status = self._fetcher.post(url, body, headers, time.monotonic() + ATTEMPT_SECONDS)
        except UrlRefused as error:
            return error.message
        except OSError as error:
            return f"{error!r:.200}"
        return "" if 200 <= status < 300 else f"status {status}"


def sign(secret: str, body: bytes) -> str:
    """Return the value of X-Signature: HMAC-SHA256 of a body with WEBHOOK_SECRET."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
