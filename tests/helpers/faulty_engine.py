"""A process that computes and dies where its work says so: `python -m tests.helpers.faulty_engine`.

The settings of a certification choose: `fault` names what happens before input `at` is answered,
and `once` is a file that keeps it from happening a second time.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.helpers.breaking import FAULTS
from worker.engine import main
from worker.work import CertificationWork, Engines

FAULTY_ENGINE = (sys.executable, "-m", "tests.helpers.faulty_engine")


def faulty(work: CertificationWork, cancelled: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
    """Answer for each input; die of one."""
    once = work.settings.get("once")
    for index in work.indices:
        time.sleep(work.settings.get("pause", 0.0))
        due = index == work.settings.get("at", 1) and not (once and Path(once).exists())
        if work.settings.get("fault") and due:
            if once:
                Path(once).touch()
            FAULTS[work.settings["fault"]]()
        if cancelled():
            return
        own = {"worker": os.getpid(), "kept": gc.get_freeze_count()}
        yield {"index": index, "verdict": "verified", **own}


def _none(*_: object) -> NoReturn:
    raise NotImplementedError("only certifications are asked for")


if __name__ == "__main__":
    sys.exit(main(load=lambda _threads: Engines(certify=faulty, measure=_none, train=_none)))
