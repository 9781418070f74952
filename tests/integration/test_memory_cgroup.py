"""The low profile in a container of 512 MB, limited by the kernel. Skipped where no memory cgroup can be made.

CI runs it in a job of its own, on a machine instead of in a container, with REQUIRE_MEMORY_CGROUP=1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.support.memory_cgroup import CgroupUnavailable, MemoryCgroup, memory_cgroup
from tests.support.photos import encoded, jpeg, photo
from tests.support.service import Answer, Service, end
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.may_skip]

LIMIT = 512 << 20
CLIENTS = 16
# Memory that grows until the kernel kills a process: the engine, since it has the highest oom_score_adj.
HOG = "import time\nblocks = []\nwhile True:\n    blocks.append(b'1' * 4_000_000)\n    time.sleep(0.01)\n"
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def cgroup() -> Iterator[MemoryCgroup]:
    try:
        with memory_cgroup(LIMIT) as made:
            yield made
    except CgroupUnavailable as unavailable:
        if os.environ.get("REQUIRE_MEMORY_CGROUP") == "1":
            pytest.fail(f"no memory cgroup: {unavailable}")
        pytest.skip(f"no memory cgroup can be made (it takes root, outside of a container): {unavailable}")


@pytest.fixture
def service(cgroup: MemoryCgroup, start: Start) -> Iterator[Service]:
    service = start(wrap=cgroup.entry, MEMORY_PROFILE="low")
    yield service
    end(service)  # before the cgroup


def large() -> bytes:
    """Return a JPEG of 12 megapixels."""
    return encoded(photo("coffee").resize((4000, 3000)), "JPEG", quality=85)


def ask(service: Service, image: bytes) -> Answer:
    """Post until there is a place in the queue."""
    while (answer := service.request("/remove-background", image, timeout=130)).status in {429, 503}:
        time.sleep(float(answer.headers["Retry-After"]) / 4)
    return answer


def post_from_all_clients(service: Service, photos: int, statuses: Counter[int]) -> list[threading.Thread]:
    """Post photos from sixteen clients, each one after the other."""
    images = [jpeg("coffee"), large(), jpeg("astronaut")]

    def post(first: int) -> None:
        for number in range(first, first + photos):
            statuses[ask(service, images[number % len(images)]).status] += 1

    clients = [threading.Thread(target=post, args=(number,), daemon=True) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients


def test_sixteen_clients_fit_into_the_limit(cgroup: MemoryCgroup, service: Service) -> None:
    worker, before = service.worker().pid, cgroup.oom_kills
    statuses = Counter[int]()
    for client in post_from_all_clients(service, 3, statuses):
        client.join()
    assert statuses == {200: 3 * CLIENTS}
    assert (cgroup.oom_kills, service.worker().pid) == (before, worker)
    assert service.healthy()


def test_an_oom_kill_of_an_engine_fails_no_photo(cgroup: MemoryCgroup, service: Service) -> None:
    worker, before = service.worker().pid, cgroup.oom_kills
    (engine,) = service.engines()
    statuses = Counter[int]()
    clients = post_from_all_clients(service, 3, statuses)
    wait_until(lambda: statuses[200] > 2)
    hog = subprocess.Popen([*cgroup.entry, sys.executable, "-c", HOG])
    try:
        wait_until(lambda: cgroup.oom_kills > before)
    finally:
        hog.kill()
        hog.wait()
    for client in clients:
        client.join()
    assert statuses == {200: 3 * CLIENTS}
    assert not engine.is_running()
    assert service.worker().pid == worker
    wait_until(service.healthy)
