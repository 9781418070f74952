"""Cut-outs by rembg itself, executed by its own environment: `python quality_rembg.py MODEL MATTING PHOTOS CUT_OUTS`.

Prints JSON like quality_ours.py. Imports nothing of this project.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path


def main(model: str, matting: str, photos: Path, cut_outs: Path) -> None:
    """Cut out every photo of a folder, with alpha matting if `matting` is "matting"."""
    import onnxruntime
    from rembg import new_session, remove

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session, seconds = new_session(model, sess_opts=options, providers=["CPUExecutionProvider"]), []
    for path in sorted(photos.glob("*.png")):
        start = time.process_time()
        cut_out = remove(path.read_bytes(), session=session, alpha_matting=matting == "matting")
        seconds.append(time.process_time() - start)
        (cut_outs / path.name).write_bytes(cut_out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": statistics.median(seconds), "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
