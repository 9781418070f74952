"""Arena: memory of inferences is kept once, and given back on request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
from PIL import Image
from app.engine.arena import give_back_memory
from app.engine.memory import resident_bytes
from app.engine.models import REGISTRY
from app.engine.session import load_session

session = load_session(REGISTRY["lite"], threads=1, threads_alone=2)
grey = Image.new("RGB", (320, 320), "grey")

def infer(inference):
    inference.run([session.output_name], {session.input_name: session.preprocess(grey)})

def megabytes():
    return resident_bytes() / 2**20

infer(session.inference)
give_back_memory()
found = [megabytes()]
for _ in range(3):
    infer(session.inference)
    found.append(megabytes())
give_back_memory()
found.append(megabytes())
session.inference_alone()
give_back_memory()
found.append(megabytes())
infer(session.inference)
found.append(megabytes())
infer(session.inference_alone())
found.append(megabytes())
print(*found)
"""


@pytest.fixture(scope="module")
def megabytes() -> list[float]:
    environment = os.environ | {"MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [float(number) for number in done.stdout.split()]


def test_an_inference_keeps_its_memory_for_the_next(megabytes: list[float]) -> None:
    idle, first, second, third, *_ = megabytes
    assert first - idle > 10
    assert max(second, third) - first < 3


def test_memory_is_given_back_on_request(megabytes: list[float]) -> None:
    idle, _, _, third, shrunk, *_ = megabytes
    assert third - shrunk > 10
    assert shrunk - idle < 3


def test_sessions_share_the_arena(megabytes: list[float]) -> None:
    *_, idle, one, both = megabytes
    assert one - idle > 10
    assert both - one < 5
