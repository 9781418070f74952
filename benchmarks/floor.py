"""Baseline of the hardware: the bare model on all cores, and each stage of a photo on an otherwise idle machine."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from app.engine.container import cpu_quota
from app.engine.messages import EngineConfig
from app.removal import RemovalOptions, RemovalRequest
from benchmarks.client import STAGES
from benchmarks.contenders import Model
from benchmarks.figures import Bare, Lone
from benchmarks.steal import undisturbed

__all__ = ["bare_runs", "lone_stages"]

WARM_UP_RUNS = 3
PHOTOS = 9
# Limits that refuse nothing.
MEMORY_MB, MAX_PIXELS, LONGEST_SIDE = 1 << 14, 100_000_000, 16_000


def bare_runs(model: Model, seconds: float, round: int) -> list[Bare]:
    """Run the bare model with one session on all cores, then with one session per core, each for `seconds`."""
    cores = cpu_quota()
    layouts = dict.fromkeys([(1, cores), (cores, 1)])
    return [
        undisturbed(partial(_in_own_process, partial(_bare, model.name, model.file, layout, seconds, round)))[0]
        for layout in layouts
    ]


def lone_stages(model: Model, photos: Mapping[str, bytes]) -> list[Lone]:
    """Measure the stages of each photo, with one thread and with one thread per core."""
    threads = dict.fromkeys([1, cpu_quota()])
    return [
        undisturbed(partial(_in_own_process, partial(_lone, model.name, dict(model.ours), name, photo, each)))[0]
        for name, photo in photos.items()
        for each in threads
    ]


def _in_own_process(task: Callable[[], Any]) -> Any:
    """Call in a new process, so that neither its memory nor its threads affect later measurements."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task).result()


def _bare(name: str, path: Path, layout: tuple[int, int], seconds: float, round: int) -> Bare:
    sessions, threads = layout
    ready = threading.Barrier(sessions)
    with ThreadPoolExecutor(sessions) as pool:
        times = [*pool.map(lambda _: _run_times(path, threads, seconds, ready), range(sessions))]
    rate = sum(len(each) * 1000 / sum(each) for each in times)
    return Bare(round, name, sessions, threads, statistics.median(time for each in times for time in each), rate)


def _run_times(path: Path, threads: int, seconds: float, ready: threading.Barrier) -> list[float]:
    """Return the ms of each run, with onnxruntime's default settings except for the threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    entry, output = session.get_inputs()[0], session.get_outputs()[0].name
    feed = {entry.name: np.random.default_rng(0).standard_normal(entry.shape, np.float32)}
    for _ in range(WARM_UP_RUNS):
        session.run([output], feed)
    ready.wait()
    times, end = list[float](), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        session.run([output], feed)
        times.append((time.perf_counter() - start) * 1000)
    return times


def _lone(name: str, settings: Mapping[str, str], photo_name: str, photo: bytes, threads: int) -> Lone:
    import cv2

    from app.engine.allocator import keep_heap_small
    from app.engine.pipeline import Pipeline
    from app.engine.session import SessionCache
    from app.engine.worker import MMAP_THRESHOLD, TRIM_THRESHOLD

    os.environ.update(settings)
    keep_heap_small(MMAP_THRESHOLD, TRIM_THRESHOLD)  # as an engine does
    cv2.setNumThreads(1)
    model = settings["MODEL_NAME"]
    config = EngineConfig(model, threads, max_pixels=MAX_PIXELS, max_pixels_hard=MAX_PIXELS, memory_mb=MEMORY_MB)
    pipeline = Pipeline(config, SessionCache(threads))
    request = RemovalRequest(photo, RemovalOptions(model, longest_side=LONGEST_SIDE))
    results = [pipeline.run(request).stages_ms for _ in range(WARM_UP_RUNS + PHOTOS)][WARM_UP_RUNS:]
    medians = {stage: statistics.median(result[stage] for result in results) for stage in STAGES}
    return Lone(name, photo_name, threads, medians)
