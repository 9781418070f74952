"""Arena for onnxruntime's intermediate results: kept between photos, returned to the system when the engine is idle.

Without an arena each inference allocates this memory again, which takes a fifth of its time. With onnxruntime's
default arena it is held twice, since memory patterns allocate another block.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort

from app.engine.allocator import give_back_freed_memory
from app.engine.providers import CPU

__all__ = ["give_back_memory", "share_arena", "shrink_arena"]

# The arena grows by the requested size, not by powers of two, so that it can shrink to zero.
AS_REQUESTED = 1
# ONNX model y = x for one float: the arena shrinks only at the end of an inference.
IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a"
    "08080112040a02080142040a001011"
)


def share_arena(options: ort.SessionOptions) -> None:
    """Make a session use the arena of this process."""
    _register_arena()
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")


def shrink_arena() -> None:
    """Return the unused memory of the arena to the system."""
    shrink = ort.RunOptions()
    shrink.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    _identity().run(None, {"x": np.zeros(1, np.float32)}, shrink)


def give_back_memory() -> None:
    """Return the memory that onnxruntime and the allocator keep for the next photo."""
    shrink_arena()
    give_back_freed_memory()


@cache
def _register_arena() -> None:
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"arena_extend_strategy": AS_REQUESTED}))


@cache
def _identity() -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    share_arena(options)
    return ort.InferenceSession(IDENTITY, options, providers=[CPU])
