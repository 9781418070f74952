"""Flame graphs of an engine and of the web worker under load: `python -m benchmarks.flame [--clients 4] [--write]`.

Stacks are sampled by py-spy, which needs the right to trace other processes (root, or CAP_SYS_PTRACE).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.client import Post, run_load
from benchmarks.console import at_least_one, positive, run_command
from benchmarks.flame_graph import flame_graph, read_stacks
from benchmarks.photos import sample_photo
from benchmarks.server import ROOT, Service, ServiceFailed, running_service

SAMPLES_PER_SECOND = 200
WARM_UP_SECONDS = 3.0
DOCUMENT = ROOT / "docs/images/flame.svg"
BUILT = ROOT / "build/flame.svg"


def main() -> int:
    """Sample under load, write the graphs, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=20.0, help="length of the samples (default: 20)")
    parser.add_argument("--clients", type=at_least_one, default=4, help="number of clients (default: 4)")
    parser.add_argument("--write", action="store_true", help="replace docs/images/flame.svg")
    arguments = parser.parse_args()
    with running_service() as service:
        graphs = _sample(service, arguments.clients, arguments.seconds)
    target = DOCUMENT if arguments.write else BUILT
    target.parent.mkdir(exist_ok=True)
    target.write_text(flame_graph(graphs), encoding="utf-8")
    print(f"{target.relative_to(ROOT)} written")
    return 0


def _sample(service: Service, clients: int, seconds: float) -> dict[str, dict[str, int]]:
    """Return the stacks of one engine and of the web worker."""
    (worker,) = psutil.Process(service.pid).children()
    # Only the engine spends time in native code; threads of the web worker that wait are not samples of its work.
    processes = {"engine": (worker.children()[0].pid, "--native"), "web worker": (worker.pid, "--gil")}
    post = Post.of_photo(sample_photo())
    run_load(service.port, post, clients, WARM_UP_SECONDS)
    with ThreadPoolExecutor() as threads:
        stacks = {title: threads.submit(_stacks, *process, seconds) for title, process in processes.items()}
        load = run_load(service.port, post, clients, seconds)
    print(f"{load.photos_per_second:.1f} photos/s with {clients} clients while stacks were sampled")
    return {title: future.result() for title, future in stacks.items()}


def _stacks(pid: int, kind: str, seconds: float) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stacks"
        command = [
            *(str(Path(sys.executable).with_name("py-spy")), "record", kind, "--function", "--format", "raw"),
            *("--pid", str(pid), "--duration", f"{seconds:.0f}", "--rate", str(SAMPLES_PER_SECOND)),
            *("--output", str(output)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceFailed(f"py-spy failed: {done.stderr.strip()}")
        return read_stacks(output.read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(run_command(main))
