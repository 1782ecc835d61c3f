"""Bounds on the inputs that auto_LiRPA was measured on, beside its figures."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared import print_table, shared_folder
from models import Normalization, fold_affine, load_network
from solvers.bounds import Margins, Scene, bound_margins, boxes_to_interval
from solvers.methods import Method
from solvers.problem import linf_ball, robustness

_OVAL = Normalization((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))
_RESNET = Normalization((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))

NETWORKS: dict[str, tuple[str, str, float, Normalization | None]] = {
    "mnist_256x4": ("mnist_fc/onnx/mnist-net_256x4.onnx", "mnist", 0.02, None),
    "mnist_256x6": ("mnist_fc/onnx/mnist-net_256x6.onnx", "mnist", 0.02, None),
    "oval_base": ("oval21/onnx/cifar_base_kw.onnx", "cifar", 2 / 255, _OVAL),
    "oval_deep": ("oval21/onnx/cifar_deep_kw.onnx", "cifar", 2 / 255, _OVAL),
    "oval_wide": ("oval21/onnx/cifar_wide_kw.onnx", "cifar", 2 / 255, _OVAL),
    "resnet_2b": ("cifar10_resnet/onnx/resnet_2b.onnx", "cifar", 1 / 255, _RESNET),
}
"""Network file, kind of input, radius in pixels, normalisation in front of the file."""

_PEER_NAMES = {
    "IBP": Method.IBP,
    "CROWN-IBP": Method.CROWN_IBP,
    "CROWN": Method.CROWN,
    "alpha-CROWN": Method.ALPHA_CROWN,
}


def scene_of(name: str, batch: int, shared: Path) -> tuple[Scene, Margins]:
    """Return the regions and margins of one network and batch, in float32."""
    file, kind, epsilon, normalization = NETWORKS[name]
    network = load_network(shared / "benchmarks" / file)
    if normalization is not None:
        network = network.with_normalization(normalization)
    folded = fold_affine(network.to(torch.float32))
    inputs = np.load(shared / "peers" / "lirpa_inputs.npz")
    x = inputs[kind][:batch].reshape(batch, *folded.input_shape) / 255.0
    labels = inputs[f"{kind}_label"][:batch]
    region = boxes_to_interval([linf_ball(image, epsilon) for image in x], torch.float32)
    matrix = np.stack(
        [
            np.concatenate([clause.matrix for clause in robustness(int(label), 10).clauses])
            for label in labels
        ]
    )
    margins = Margins(torch.from_numpy(matrix).float(), torch.zeros(batch, matrix.shape[1]))
    return Scene(folded, region), margins


def measure(scene: Scene, margins: Margins, method: Method, runs: int) -> dict[str, float]:
    """Return medians of wall and processor seconds, the mean bound and the inputs proved."""
    wall, cpu = [], []
    for run_number in range(runs + 1):
        began, began_cpu = time.perf_counter(), time.process_time()
        with torch.set_grad_enabled(method is Method.ALPHA_CROWN):
            lower = bound_margins(scene, margins, method).lower
        if run_number:
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - began_cpu)
    return {
        "wall": statistics.median(wall),
        "cpu": statistics.median(cpu),
        "mean": float(lower.mean()),
        "proved": float((lower > 0).all(dim=1).sum()),
    }


def _peak_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure_one(name: str, batch: int, method: Method) -> None:
    """Print one measurement as JSON; in a process of its own, so that peaks are its own."""
    torch.set_num_threads(2)
    scene, margins = scene_of(name, batch, shared_folder())
    before = _peak_megabytes()
    found = measure(scene, margins, method, 3 if method is Method.ALPHA_CROWN else 5)
    print(json.dumps({**found, "before": before, "peak": _peak_megabytes()}))


def peer_rows(shared: Path) -> dict[tuple[str, Method, int], dict[str, Any]]:
    """Return auto_LiRPA's figures with two threads, by network, method and batch."""
    rows = json.loads((shared / "peers" / "autolirpa_bounds.json").read_text())["rows"]
    return {
        (row["net"], _PEER_NAMES[row["method"]], row["batch"]): row
        for row in reversed(rows)
        if row["method"] in _PEER_NAMES and row["threads"] == 2 and row["conv_mode"] == "patches"
    }


def run(names: tuple[str, ...] = tuple(NETWORKS), batches: tuple[int, ...] = (1, 8, 32)) -> None:
    """Print the table for some networks and batch sizes."""
    peers = peer_rows(shared_folder())
    table = []
    for name in names:
        for batch in batches:
            for method in _PEER_NAMES.values():
                command = [sys.executable, "-m", "benchmarks.bounds_beside_peers"]
                command += [name, str(batch), method.value]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                ours = json.loads(done.stdout)
                table.append(_row(name, batch, method, ours, peers.get((name, method, batch), {})))
    header = ["network", "inputs", "method", "cpu s", "peer cpu s", "ratio", "wall s"]
    header += ["mean bound", "peer mean", "proved", "peer proved", "MB added", "peer MB added"]
    print_table("Bounds beside auto_LiRPA (float32, 2 threads, 9 targets)", header, table)


def _row(
    name: str, batch: int, method: Method, ours: dict[str, float], peer: dict[str, Any]
) -> list[object]:
    """Lay one measurement out beside the peer's, with processor time as the fair comparison."""
    theirs = peer.get("cpu_median_s")
    added = peer["peak_rss_mb"] - peer["rss_before_mb"] if "peak_rss_mb" in peer else "-"
    return [
        name,
        batch,
        method.value,
        ours["cpu"],
        "-" if theirs is None else theirs,
        "-" if theirs is None else theirs / ours["cpu"],
        ours["wall"],
        ours["mean"],
        peer.get("mean_lb", "-"),
        int(ours["proved"]),
        peer.get("verified", "-"),
        ours["peak"] - ours["before"],
        added,
    ]


if __name__ == "__main__":
    measure_one(sys.argv[1], int(sys.argv[2]), Method(sys.argv[3]))
