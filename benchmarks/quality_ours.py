"""Cut-outs by this service's pipeline: `python -m benchmarks.quality_ours MODEL REFINE PHOTOS CUT_OUTS`.

Prints JSON: the median CPU time of a photo in seconds, and the peak of the resident memory in bytes.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from app.engine.messages import EngineConfig
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.removal import RemovalOptions, RemovalRequest

LONGEST_SIDE = 4096


def main(model: str, refine: Any, photos: Path, cut_outs: Path) -> None:
    """Cut out every photo of a folder."""
    config = EngineConfig(model, 1, 10**8, 10**8, memory_mb=4000)
    pipeline, seconds = Pipeline(config, SessionCache(1)), []
    options = RemovalOptions(model, LONGEST_SIDE, refine=refine)
    for path in sorted(photos.glob("*.png")):
        start = time.process_time()
        result = pipeline.run(RemovalRequest(path.read_bytes(), options))
        seconds.append(time.process_time() - start)
        (cut_outs / path.name).write_bytes(result.body)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": statistics.median(seconds), "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
