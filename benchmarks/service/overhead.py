"""What the service adds to the engine, for 1000 inputs."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.service.embedded import Service, mnist, rounds_of, serving
from benchmarks.shared import print_table

__all__ = ["run"]

_COUNT = 1000
_ROUNDS = 3
_LONGEST_SECONDS = 240.0
_METHODS = ["ibp", "crown"]
_EPSILON = 0.02


@dataclass(frozen=True)
class _Spent:
    """What all inputs took.

    Attributes:
        seconds: From the request, or the call, to the last answer.
        processor_seconds: Of all processes that took part.
    """

    seconds: float
    processor_seconds: float


def run() -> None:
    """Take turns between the bare engine and the service, and print medians of the overhead."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(worker_threads=1, device="cpu") as service,
    ):
        network, data = mnist(Path(folder), _COUNT)
        ids = service.upload("networks", network), service.upload("datasets", data)
        _served(service, ids, count=32)  # loads torch
        _bare(network, data, count=32)
        rounds: list[tuple[_Spent, _Spent]] = []
        for number in rounds_of(_ROUNDS, longest_seconds=_LONGEST_SECONDS):
            # Either goes first in turn: the machine is not the same from minute to minute.
            if number % 2:
                served = _served(service, ids, count=_COUNT)
                rounds.append((_bare(network, data, count=_COUNT), served))
            else:
                bare = _bare(network, data, count=_COUNT)
                rounds.append((bare, _served(service, ids, count=_COUNT)))
    _print(rounds)


def _print(rounds: list[tuple[_Spent, _Spent]]) -> None:
    rows = [
        [number, bare.seconds, served.seconds, bare.processor_seconds, served.processor_seconds]
        for number, (bare, served) in enumerate(rounds, start=1)
    ]
    header = ["round", "engine, s", "service, s", "engine, processor s", "service, processor s"]
    print_table(f"{_COUNT} inputs by {', '.join(_METHODS)}, one thread", header, rows)
    shares = {
        "wall": [served.seconds / bare.seconds for bare, served in rounds],
        "processor": [served.processor_seconds / bare.processor_seconds for bare, served in rounds],
    }
    for name, found in shares.items():
        print(f"\noverhead of {name} time, median: {100 * (median(found) - 1):.1f} %")


def _settings(count: int) -> dict[str, object]:
    return {"epsilon": _EPSILON, "methods": _METHODS, "count": count, "reuse": False}


def _served(service: Service, ids: tuple[str, str], *, count: int) -> _Spent:
    """Return what the service takes, from the request to the last answer."""
    before = service.processor_seconds()
    seconds = service.seconds(network_id=ids[0], dataset_id=ids[1], **_settings(count))
    return _Spent(seconds, service.processor_seconds() - before)


def _bare(network: Path, data: Path, *, count: int) -> _Spent:
    """Return what the engine takes on its own, from the files to the last answer."""
    import torch  # noqa: PLC0415  after the environment is set

    from worker.certification import certify  # noqa: PLC0415
    from worker.work import CertificationWork  # noqa: PLC0415

    torch.set_num_threads(1)
    settings = {
        **_settings(count),
        "norm": "inf",
        "timeout_seconds": 60.0,
        "valid_range": [0.0, 1.0],
        "targets": None,
        "normalization": None,
        "seed": 0,
    }
    work = CertificationWork(
        network=network,
        network_name="network",
        dataset=data,
        dataset_name="data",
        settings=settings,
        indices=range(count),
        device="cpu",
        threads=1,
    )
    before, began = time.process_time(), time.perf_counter()
    answers = sum(1 for _ in certify(work, lambda: False))
    seconds = time.perf_counter() - began
    if answers != count:
        raise SystemExit(f"the engine gave {answers} answers")
    return _Spent(seconds, time.process_time() - before)
