"""Memory of a process tree: proportional set sizes, and files in memory. Linux only."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["MemoryFile", "MemoryFiles", "ProcessMemory", "process_memory", "process_tree"]

PROC = Path("/proc")
MEMORY_FILE_SYSTEMS = {"tmpfs", "devtmpfs", "ramfs"}
# Unit of st_blocks, whatever the block size of the file system.
BLOCK = 512
# "7f31a0000000-7f31a0200000 rw-s 00000000 00:01 1030 /memfd:name (deleted)", see proc_pid_maps(5).
MAPPING = re.compile(r"([0-9a-f]+-[0-9a-f]+) \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+)")

# Identity of a file: (device, inode).
Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Memory of one process in bytes; PSS counts a page shared by n processes as 1/n."""

    role: str
    pid: int
    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A file in memory; `uncounted` is its bytes that are not part of any PSS of the tree."""

    name: str
    bytes: int
    uncounted: int


def process_tree(master: int) -> list[psutil.Process]:
    """Return a service's processes, parents first: descendants of the master, then other members of its session."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(master)
        found = [process, *process.children(recursive=True)]
    return [*found, *(each for each in psutil.process_iter() if _session(each.pid) == master and each not in found)]


def process_memory(master: int) -> list[ProcessMemory]:
    """Return the memory of every process of a service, parents first."""
    found = []
    for process in process_tree(master):
        with suppress(psutil.Error):  # ended meanwhile, such as a replaced engine
            info = process.memory_full_info()
            found.append(ProcessMemory(_role(process, master), process.pid, info.rss, info.pss))
    return found


class MemoryFiles:
    """Files in memory that a service uses or has created; to be constructed before the service is started.

    PSS includes only the mapped pages of such a file; other pages of it are memory as well. Each inode therefore counts

        bytes that the file system has allocated - PSS of all mappings of that inode in the tree's smaps

    so that a page counts either in the PSS of the process that maps it or here. Included are regular files that the
    tree has open (/proc/PID/fd) or mapped (/proc/PID/map_files, also when closed and deleted) on tmpfs, devtmpfs, ramfs
    or the kernel's own mount for memfd and shared memory; and new named files on such a mount, unless only other
    processes have them open.
    """

    def __init__(self) -> None:
        self._folders = _memory_mounts()
        self._devices = {*self._folders, _memfd_device()}
        self._before = {key for key, _ in self._named()}

    def held_by(self, pids: Iterable[int]) -> list[MemoryFile]:
        """Return the files of these processes, by decreasing uncounted part."""
        own = {*pids}
        files, mapped = self._open(own), Counter[Key]()
        for pid in own:
            for key, path, pss in self._mappings(pid):
                mapped[key] += pss
                files.setdefault(key, path)
        made = {key: path for key, path in self._named() if key not in self._before and key not in files}
        if made:
            others = self._open({*psutil.pids()} - own)
            files |= {key: path for key, path in made.items() if key not in others}
        found = [file for key, path in files.items() if (file := _measured(path, mapped[key]))]
        return sorted(found, key=lambda file: -file.uncounted)

    def _open(self, pids: Iterable[int]) -> dict[Key, str]:
        """Return the open files of these processes, each with one path to it."""
        found: dict[Key, str] = {}
        for pid in pids:
            with _vanishing():
                for name in os.listdir(PROC / str(pid) / "fd"):
                    path = f"{PROC}/{pid}/fd/{name}"
                    if key := self._key(path):
                        found.setdefault(key, path)
        return found

    def _mappings(self, pid: int) -> Iterator[tuple[Key, str, int]]:
        """Yield (file, path to it, PSS) of each mapping of a file in memory."""
        key, path = None, ""
        with _vanishing(), open(f"{PROC}/{pid}/smaps", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line[0].isupper() and (match := MAPPING.match(line)):
                    device = os.makedev(int(match[2], 16), int(match[3], 16))
                    key = (device, int(match[4])) if device in self._devices else None
                    path = f"{PROC}/{pid}/map_files/{match[1]}"
                elif key and line.startswith("Pss:"):
                    yield key, path, int(line.split()[1]) * 1024

    def _named(self) -> Iterator[tuple[Key, str]]:
        """Yield every named file on a memory-backed mount."""
        for device, folder in self._folders.items():
            for root, folders, names in os.walk(folder):
                folders[:] = [each for each in folders if _device(os.path.join(root, each)) == device]
                for name in names:
                    path = os.path.join(root, name)
                    if key := self._key(path, follow=False):
                        yield key, path

    def _key(self, path: str, *, follow: bool = True) -> Key | None:
        """Return the identity of the file at a path if it is a regular file in memory."""
        with _vanishing():
            info = os.stat(path, follow_symlinks=follow)
            if stat.S_ISREG(info.st_mode) and info.st_dev in self._devices:
                return info.st_dev, info.st_ino
        return None


def _measured(path: str, mapped: int) -> MemoryFile | None:
    with _vanishing():
        allocated = os.stat(path).st_blocks * BLOCK
        name = os.readlink(path) if path.startswith(f"{PROC}/") else path
        return MemoryFile(name, allocated, max(0, allocated - mapped))
    return None


@contextmanager
def _vanishing() -> Iterator[None]:
    """Ignore a process or file that has disappeared or is not accessible."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        yield


def _memory_mounts() -> dict[int, str]:
    """Return the folder of each memory-backed device, from /proc/self/mountinfo."""
    found: dict[int, str] = {}
    for line in (PROC / "self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split()[0] in MEMORY_FILE_SYSTEMS:
            device, _, folder = fields.split()[2:5]
            folder = folder.encode("ascii", "backslashreplace").decode("unicode_escape")  # a space is escaped as \040
            found.setdefault(os.makedev(*map(int, device.split(":"))), folder)
    return found


def _memfd_device() -> int:
    """Return the device of the kernel's own mount, which is in no list of mounts."""
    descriptor = os.memfd_create("probe")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _device(path: str) -> int | None:
    with _vanishing():
        return os.lstat(path).st_dev
    return None


def _session(pid: int) -> int | None:
    with _vanishing():
        return os.getsid(pid)
    return None


def _role(process: psutil.Process, master: int) -> str:
    if process.pid == master:
        return "gunicorn master"
    if process.ppid() == master:
        return "web worker"
    return "engine" if "app.engine.worker" in process.cmdline() else "other"
