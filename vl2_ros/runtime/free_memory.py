"""Find how much memory a process may still take: of the machine, its container and its limits.

Reads /proc and cgroups of Linux; elsewhere nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Memory of the host that is free for this process, in bytes; None where it is not known.

    Attributes:
        resident: new memory that can be filled; the file cache counts as free.
        addresses: more addresses that may be used, mapped files included; None without a limit.
    """

    resident: int | None
    addresses: int | None


@dataclass(frozen=True, slots=True)
class _GroupFiles:
    """Names of the files of a memory group, and of lines in its memory.stat."""

    limit: str
    used: str
    cache: str
    shared: str


_VERSION_1 = _GroupFiles(
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"
)
_VERSION_2 = _GroupFiles("memory.max", "memory.current", "file", "shmem")


def find_free_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> FreeMemory:
    """Return what the machine and every group above this process leave.

    Args:
        proc: where the kernel shows processes.
        cgroups: where it shows control groups, of version 1 or 2.
    """
    found = [_find_available(proc), *_list_group_rests(proc, cgroups)]
    known = [one for one in found if one is not None]
    return FreeMemory(max(0, min(known)) if known else None, _find_addresses(proc))


def _find_available(proc: Path) -> int | None:
    kibibytes = _read_table(proc / "meminfo").get("MemAvailable:")
    return None if kibibytes is None else kibibytes * 1024


def _list_group_rests(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield what each limited group has left; its file cache gives way and counts as free."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            yield from _list_rests(cgroups, path, _VERSION_2)
        elif "memory" in controllers.split(","):
            yield from _list_rests(cgroups / "memory", path, _VERSION_1)


def _list_rests(root: Path, path: str, names: _GroupFiles) -> Iterator[int]:
    group = root / path.strip("/")
    for one in (group, *group.parents):
        limit, used = _read(one / names.limit).strip(), _read(one / names.used).strip()
        if limit.isdecimal() and used.isdecimal():
            held = _read_table(one / "memory.stat")
            cache = held.get(names.cache, 0) - held.get(names.shared, 0)
            yield int(limit) - int(used) + max(0, cache)
        if one == root:
            break


def _find_addresses(proc: Path) -> int | None:
    """Return the addresses that RLIMIT_AS (`ulimit -v`) leaves."""
    for line in _read(proc / "self" / "limits").splitlines():
        if line.startswith("Max address space"):
            limit = line.removeprefix("Max address space").split()[0]
            used = _read_table(proc / "self" / "status").get("VmSize:", 0) * 1024
            return max(0, int(limit) - used) if limit.isdecimal() else None
    return None


def _read_table(path: Path) -> Mapping[str, int]:
    """Return the numbers of lines of the form `name number ...`."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
