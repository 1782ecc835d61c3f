"""Threads follow the cores that a process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.cores import available_cores, thread_environment


def test_no_limit_leaves_what_affinity_allows(tmp_path: Path) -> None:
    whole = available_cores(tmp_path / "no such file")
    assert whole >= 1
    limit = tmp_path / "cpu.max"
    limit.write_text("max 100000\n")
    assert available_cores(limit) == whole


@pytest.mark.parametrize("quota", [1000, 100_000, 150_000])
def test_a_container_may_have_less(tmp_path: Path, quota: int) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(f"{quota} 100000\n")
    assert available_cores(limit) == 1


def test_what_the_operator_has_set_stays() -> None:
    environment = thread_environment(3, {"OMP_NUM_THREADS": "7", "HOME": "/h"})
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment["MKL_NUM_THREADS"] == "3"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["HOME"] == "/h"
