"""Fuzz `decode` with damaged images: `python -m tests.fuzz.fuzz_decode --minutes 3 --seed 1`.

A finding is an outcome that is neither a Photo nor a ServiceError, a crash, more than 10 seconds or more than 4 GB.
Inputs are the same for the same seed. Exits with 1 if there are findings.
"""

from __future__ import annotations

import sys

from app.errors import ServiceError
from app.imaging.decode import PixelLimits, decode
from tests.fuzz.damage import damaged
from tests.fuzz.harness import Target, run
from tests.fuzz.seeds import seeds

LIMITS = PixelLimits(decoded=10**6, hard=4 * 10**6)
LONGEST_SIDE = 40


def decoded(data: bytes) -> str:
    """Decode one input; return the type of the outcome."""
    try:
        return type(decode(data, LONGEST_SIDE, LIMITS)).__name__
    except ServiceError as error:
        return type(error).__name__


TARGET = Target(seeds, damaged, decoded, seconds=10, memory=4 << 30)

if __name__ == "__main__":
    sys.exit(run(TARGET, __doc__))
