"""What a process may still take, by files of the kernel that a test writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vl2_ros.runtime.free_memory import find_free_memory

GIB = 2**30


@pytest.fixture
def proc(tmp_path) -> Path:
    own = tmp_path / "proc" / "self"
    own.mkdir(parents=True)
    (own.parent / "meminfo").write_text(
        f"MemTotal: {24 * 2**20} kB\nMemFree: 100 kB\nMemAvailable: {20 * 2**20} kB\n"
    )
    (own / "status").write_text(f"Name:\tpython\nVmSize:\t{2**20} kB\n")
    (own / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max address space         unlimited            unlimited            bytes\n"
    )
    (own / "cgroup").write_text("0::/robot/node\n")
    return own.parent


def limit_group(group: Path, limit: str, used: int, cache: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon {used - cache}\nfile {cache}\nshmem 0\n")


def test_without_limits_it_is_what_the_machine_has(proc, tmp_path):
    found = find_free_memory(proc, tmp_path / "cgroup")
    assert (found.resident, found.addresses) == (20 * GIB, None)


@pytest.mark.parametrize("group", ["robot/node", "robot", "."])
def test_a_limit_of_any_group_above_counts_and_its_file_cache_is_free(proc, tmp_path, group):
    limit_group(tmp_path / "cgroup" / "robot" / "node", "max", 3 * GIB, GIB)
    limit_group(tmp_path / "cgroup" / group, str(8 * GIB), 3 * GIB, GIB)
    assert find_free_memory(proc, tmp_path / "cgroup").resident == 6 * GIB


@pytest.mark.parametrize("group", ["docker/one", "docker", "."])
def test_limits_of_version_1_count_as_well(proc, tmp_path, group):
    (proc / "self" / "cgroup").write_text("3:cpu,cpuacct:/\n2:memory:/docker/one\n0::/\n")
    folder = tmp_path / "cgroup" / "memory" / group
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{8 * GIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{3 * GIB}\n")
    (folder / "memory.stat").write_text(f"cache {GIB}\ntotal_cache {GIB}\ntotal_shmem 0\n")
    assert find_free_memory(proc, tmp_path / "cgroup").resident == 6 * GIB


def test_a_group_over_its_limit_leaves_nothing(proc, tmp_path):
    limit_group(tmp_path / "cgroup" / "robot", str(GIB), 2 * GIB, 0)
    assert find_free_memory(proc, tmp_path / "cgroup").resident == 0


def test_addresses_are_what_ulimit_leaves(proc, tmp_path):
    (proc / "self" / "limits").write_text(f"Max address space  {5 * GIB}  unlimited  bytes\n")
    assert find_free_memory(proc, tmp_path / "cgroup").addresses == 4 * GIB


def test_elsewhere_nothing_is_known(tmp_path):
    found = find_free_memory(tmp_path / "none", tmp_path / "none")
    assert (found.resident, found.addresses) == (None, None)
