"""Workers on one machine share its cores, also when some of them were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.helpers.imports import ROOT
from worker.neighbours import Neighbours

SCRIPT = """
import sys, time
from pathlib import Path
from worker.neighbours import Neighbours
with Neighbours(Path(sys.argv[1]), "other"):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_worker_alone_has_every_core(tmp_path: Path) -> None:
    with Neighbours(tmp_path / "workers", "w") as alone:
        assert alone.count() == 1
        assert [alone.share(cores) for cores in (1, 2, 7)] == [1, 2, 7]


def test_cores_are_divided_and_nobody_has_none(tmp_path: Path) -> None:
    with Neighbours(tmp_path, "a") as first, Neighbours(tmp_path, "b") as second:
        assert (first.count(), second.count()) == (2, 2)
        assert (first.share(4), second.share(5), first.share(1)) == (2, 2, 1)
    with Neighbours(tmp_path, "a") as first:
        assert first.share(4) == 4


def test_a_killed_worker_gives_its_cores_back(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with (
        Neighbours(tmp_path, "mine") as mine,
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as other,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        assert mine.share(4) == 2
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert mine.share(4) == 4
        assert len(list(tmp_path.glob("*/*.lock"))) == 1
