"""What the service adds to the engine, for 1000 inputs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.service.embedded import Service, mnist, serving
from benchmarks.shared import print_table

__all__ = ["run"]

_COUNT = 1000
_ROUNDS = 1
_METHODS = ["ibp", "crown"]
_EPSILON = 0.02


def run() -> None:
    """Take turns between the bare engine and the service, and print both."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(worker_threads=1, device="cpu") as service,
    ):
        network, data = mnist(Path(folder), _COUNT)
        ids = service.upload("networks", network), service.upload("datasets", data)
        _served(service, ids, count=32)  # loads torch
        rows, bare_sum, served_sum = [], [0.0, 0.0], [0.0, 0.0]
        for number in range(_ROUNDS):
            bare, served = _bare(network, data), _served(service, ids, count=_COUNT)
            for place in range(2):
                bare_sum[place] += bare[place]
                served_sum[place] += served[place]
            rows.append([number + 1, bare[0], served[0], bare[1], served[1]])
    header = ["round", "engine, s", "service, s", "engine, processor s", "service, processor s"]
    print_table(f"{_COUNT} inputs by {', '.join(_METHODS)}, one thread", header, rows)
    for name, place in (("wall", 0), ("processor", 1)):
        print(f"\noverhead of {name} time: {100 * (served_sum[place] / bare_sum[place] - 1):.1f} %")


def _settings(count: int) -> dict[str, object]:
    return {"epsilon": _EPSILON, "methods": _METHODS, "count": count, "reuse": False}


def _served(service: Service, ids: tuple[str, str], *, count: int) -> tuple[float, float]:
    """Return wall and processor seconds from the request to the last answer."""
    before, began = service.processor_seconds(), time.perf_counter()
    made = service.certify(network_id=ids[0], dataset_id=ids[1], **_settings(count))
    view = service.finish(made["id"])
    seconds = time.perf_counter() - began
    if view["state"] != "succeeded":
        raise SystemExit(f"the certification {view['state']}: {view['error']}")
    return seconds, service.processor_seconds() - before


def _bare(network: Path, data: Path) -> tuple[float, float]:
    """Return wall and processor seconds of the engine alone, from the files to the last answer."""
    import torch  # noqa: PLC0415  after the environment is set

    from worker.certification import certify  # noqa: PLC0415
    from worker.work import CertificationWork  # noqa: PLC0415

    torch.set_num_threads(1)
    settings = {
        **_settings(_COUNT),
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
        indices=range(_COUNT),
        device="cpu",
        threads=1,
    )
    before, began = time.process_time(), time.perf_counter()
    answers = sum(1 for _ in certify(work, lambda: False))
    seconds = time.perf_counter() - began
    if answers != _COUNT:
        raise SystemExit(f"the engine gave {answers} answers")
    return seconds, time.process_time() - before
