"""Proofs of semidefinite verdicts: by the multipliers found, and by searching again.

Images of networks trained on MNIST that linear programs leave open and semidefinite bounds decide,
and random networks with a row that the semidefinite bound proves by little, one thread. Each
verdict is proved twice: with its multipliers, and without them, by splitting. Times are seconds of
the processor, which mean something on a busy machine; limits are wall time.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.certify_mnist import to_onnx
from benchmarks.exact_solvers import Images, fully_connected, load_images, train
from benchmarks.shared import print_table, shared_folder
from models import load_network
from models.fold import fold_affine
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.convex.margins import ProgramOptions, program_margins
from solvers.convex.sdp import SdpOptions, sdp_margin
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.problem import Box, Case, Clause, Problem, Specification, linf_ball, robustness
from solvers.proof import check_proof
from solvers.proof.parts.semidefinite import SEMIDEFINITE
from solvers.proof.producing.found_duals import FoundDuals
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import Trace

__all__ = ["run"]

_SECONDS = 60.0
_WANTED, _IMAGES = 6, 200
_RANDOM, _RADIUS, _SHARE = ((10, 40, 40, 20, 3), (20, 80, 80, 40, 3)), 0.4, 0.02
_NETWORKS: Sequence[tuple[Sequence[int], float]] = (
    ((784, 20, 20, 10), 0.035),
    ((784, 50, 10), 0.03),
    ((784, 100, 10), 0.03),
)


@dataclass(frozen=True)
class _Verified:
    """A case that a semidefinite bound decided.

    Attributes:
        network: That it is about.
        case: Region and specification.
        trace: Its multipliers.
        seconds: Of the processor that they took.
        rows: Of the matrix.
    """

    network: Network
    case: Case
    trace: Trace
    seconds: float
    rows: int


def run() -> None:
    """Print one table per kind of network, with one row for either way to prove."""
    torch.set_num_threads(1)
    for widths in _RANDOM:
        found = [_random(widths, seed) for seed in range(_WANTED)]
        _report(f"{'-'.join(map(str, widths))}, random, eps {_RADIUS}", found)
    images = load_images(shared_folder() / "data" / "mnist.npz")
    for sizes, epsilon in _NETWORKS:
        network = _imported(train(fully_connected(sizes, 0), images, epochs=2, seed=0))
        found = list(islice(_verified(network, images, epsilon), _WANTED))
        _report(f"{'-'.join(map(str, sizes))}, MNIST, eps {epsilon}", found)


def _report(name: str, found: Sequence[_Verified]) -> None:
    header = ["proved by", "checked", "float32", "bytes", "most bytes", "proving s", "checking s"]
    rows = [
        ["dual matrices", *_cells(found, traced=True)],
        ["search", *_cells(found, traced=False)],
    ]
    seconds = statistics.median(item.seconds for item in found)
    size = max(item.rows for item in found)
    words = f"{len(found)} verdicts of sdp, median {seconds:.2g} s, up to {size} rows"
    print_table(f"{name}: {words}", header, rows)


def _random(sizes: Sequence[int], seed: int) -> _Verified:
    """Return a row with a margin that is a small share of what sdp gains over CROWN."""
    network = _imported(fully_connected(sizes, seed))
    wide = fold_affine(network.to(torch.float64))
    region = Box(np.full((1, sizes[0]), -_RADIUS), np.full((1, sizes[0]), _RADIUS))
    row = np.eye(sizes[-1])[:1] - np.eye(sizes[-1])[1:2]
    case = Case(region, Specification((Clause(row, np.zeros(1)),)))
    step = CaseBatch(wide, [case]).bound(Method.CROWN, options=BoundOptions())
    began = time.process_time()
    bounds, budget = step.node_bounds(0), Budget.of_seconds(_SECONDS)
    result = sdp_margin(wide, case, bounds, options=SdpOptions(rounds=2), budget=budget)
    seconds = time.process_time() - began
    offset = result.lower - _SHARE * (result.lower - step.lower(0))
    duals = [replace(dual, bound=dual.bound - offset) for dual in result.duals]
    found = FoundDuals.of(wide, bounds, duals)
    assert found is not None  # noqa: S101  it has ReLUs alone
    shifted = Case(region, Specification((Clause(row, np.array([offset])),)))
    return _Verified(network, shifted, Trace(duals={0: found}), seconds, result.size)


def _imported(network: Network) -> Network:
    """Return a network with its ONNX file."""
    layers: list[nn.Module] = []
    for number in range(len(network.parameters) // 2):
        weight, bias = (network.parameters[f"{kind}{number}"] for kind in "wb")
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [linear, nn.ReLU()]
    return load_network(to_onnx(nn.Sequential(*layers[:-1])))


def _verified(network: Network, images: Images, epsilon: float) -> Iterator[_Verified]:
    """Yield the first images whose verdict no cheaper bound gives."""
    wide = fold_affine(network.to(torch.float64))
    for x, label in zip(images.x_test[:_IMAGES], images.y_test, strict=False):
        case = Case(linf_ball(x.numpy(), epsilon), robustness(int(label), 10))
        step = CaseBatch(wide, [case]).bound(Method.CROWN, options=BoundOptions())
        if step.lower(0) > 0 or _by_programs(wide, case, step) > 0:
            continue
        began = time.process_time()
        result = sdp_margin(
            wide, case, step.node_bounds(0), options=SdpOptions(stop_when_positive=True),
            budget=Budget.of_seconds(_SECONDS), clause_lower=step.clause_lower[0],
        )  # fmt: skip
        seconds = time.process_time() - began
        found = FoundDuals.of(wide, step.node_bounds(0), result.duals)
        if result.lower > 0 and found is not None:
            yield _Verified(network, case, Trace(duals={0: found}), seconds, result.size)


def _by_programs(network: Network, case: Case, step: LadderStep) -> float:
    """Return the margin that linear programs prove."""
    budget = Budget.of_seconds(_SECONDS)
    found = program_margins(
        network, case, step.node_bounds(0), options=ProgramOptions(), budget=budget,
        clause_lower=step.clause_lower[0],
    )  # fmt: skip
    return float(found.clause_lower.min())


def _cells(found: Sequence[_Verified], *, traced: bool) -> list[object]:
    """Prove verdicts with or without their multipliers; return counts and medians.

    A proof made with multipliers counts only if it relies on them.
    """
    folder, rows = Path(tempfile.mkdtemp()), []
    for item in found:
        prover = Prover(item.network, "cpu")
        trace = item.trace if traced else Trace(hard={0})
        began = time.process_time()
        outcome = prover.prove(Problem((item.case,)), Budget.of_seconds(_SECONDS), trace=trace)
        proved = time.process_time()
        if not isinstance(outcome, Proven):
            continue
        (folder / "proof").write_bytes(outcome.content)
        check = check_proof(folder / "proof", item.network.source)
        checking = time.process_time() - proved
        if (SEMIDEFINITE.name in check.parts) is traced:
            sound = check.deployment is not None and check.deployment.sound
            rows.append((sound, len(outcome.content), proved - began - checking, checking))
    shutil.rmtree(folder)
    if not rows:
        return [0]
    sounds, sizes, provings, checkings = zip(*rows, strict=True)
    times = statistics.median(provings), statistics.median(checkings)
    return [len(rows), sum(sounds), statistics.median(sizes), max(sizes), *times]
