"""How many cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["available_cores", "thread_environment"]

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_cores(limit_file: Path = _CGROUP_LIMIT) -> int:
    """Return the number of cores, at least 1, that affinity and container limit leave.

    Args:
        limit_file: Where the kernel states the container's share: quota and period.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = limit_file.read_text().split()[:2]
        return max(1, min(cores or 1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or the quota is `max`
        return max(1, cores or 1)


def thread_environment(threads: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` with what arithmetic libraries read when they are loaded.

    Waiting threads sleep instead of spinning: spinning ones steal the cores from each other as
    soon as two processes compute. What the operator has set stays.
    """
    wanted = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }
    return {**wanted, **environment}
