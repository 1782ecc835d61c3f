"""Proofs of what passes with cuts verify and CROWN does not: by planes, and by a search.

The network of `certify_mnist`, at a radius where the methods part. Times are of the processor.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch

from benchmarks.certify_mnist import to_onnx, train
from benchmarks.shared import print_table, shared_folder
from models import load_network
from models.fold import fold_affine
from models.network import Network
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Case, Problem, linf_ball, robustness
from solvers.proof import read_proof
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import Trace

__all__ = ["run"]

_BATCH = 16
_IMAGES = 300
_SECONDS = 60.0
_HEADER = (
    "way",
    "inputs",
    "checked",
    "without a split",
    "proving s",
    "checking s",
    "bytes",
    "most",
)


def run(epsilon: float = 0.04, count: int = 20) -> None:
    """Print one row for each way to prove the same verdicts."""
    shared = shared_folder()
    torch.set_num_threads(1)
    network = load_network(to_onnx(train(shared)))
    data = np.load(shared / "data" / "mnist.npz")
    x = (data["x_test"][:_IMAGES] / 255.0).reshape(_IMAGES, *network.input_shape)
    chosen = zip(x, data["y_test"][:_IMAGES], strict=True)
    cases = [Case(linf_ball(one, epsilon), robustness(int(label), 10)) for one, label in chosen]
    parted = _parted(network, cases)[:count]
    rows = [_row("planes", network, parted, Trace(hard={0}, by_cuts={0}))]
    rows.append(_row("search", network, parted, Trace(hard={0})))
    print_table(f"Proofs where fastc2v verifies and crown does not, ε {epsilon:g}", _HEADER, rows)


def _parted(network: Network, cases: Sequence[Case]) -> list[Case]:
    """Return the cases that cuts prove and CROWN does not."""
    wide, found = fold_affine(network.to(torch.float64)), []
    for first in range(0, len(cases), _BATCH):
        part = cases[first : first + _BATCH]
        batch = CaseBatch(wide, part)
        crown = batch.bound(Method.CROWN, options=BoundOptions())
        cuts = batch.bound(Method.FASTC2V, options=BoundOptions(), known=crown.intermediate)
        lowers = [(crown.lower(place), cuts.lower(place)) for place in range(len(part))]
        found += [case for case, (a, b) in zip(part, lowers, strict=True) if a <= 0 < b]
    return found


def _row(name: str, network: Network, cases: Sequence[Case], trace: Trace) -> list[object]:
    """Prove every case, and return what that took."""
    prover, found, proving, checking = Prover(network, "cpu"), [], [], []
    for case in cases:
        began, wall = time.process_time(), time.perf_counter()
        outcome = prover.prove(Problem((case,)), Budget.of_seconds(_SECONDS), trace=trace)
        spent, taken = time.process_time() - began, time.perf_counter() - wall
        if isinstance(outcome, Proven):
            # both run on one thread, so that the checker's part of either time is the same
            share = outcome.checking_seconds / taken
            checking.append(share * spent)
            proving.append((1 - share) * spent)
            found.append(outcome.content)
    if not found:
        return [name, len(cases), 0]
    whole = sum(_unsplit(content) for content in found)
    sizes = [len(content) for content in found]
    times = [f"{median(part):.3f}" for part in (proving, checking)]
    return [name, len(cases), len(found), whole, *times, int(median(sizes)), max(sizes)]


def _unsplit(content: bytes) -> bool:
    """Return whether a proof is one leaf for each clause."""
    return all(not tree.kind.any() for tree in read_proof(io.BytesIO(content)).trees)
