"""Every method on the same inputs, on a network trained by attacks and on one trained by bounds."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.shared import print_table
from benchmarks.training.paired import Data, mnist
from models.architectures import build_architecture
from models.network import Network
from solvers.certification import CertifyOptions, certify_items
from solvers.methods import Method
from training import TrainingMethod, TrainingOptions, train

__all__ = ["run"]

_WIDTHS = "mlp:50,50"
_SLOW = frozenset({Method.SDP})
"""Methods that take seconds per input, and are run on the first few inputs alone."""


def run(
    epsilon: float = 0.05,
    count: int = 100,
    few: int = 12,
    timeout_seconds: float = 10.0,
    epochs: int = 15,
) -> None:
    """Train both networks, certify, and print a table of each."""
    data = mnist(6000, count)
    for method in (TrainingMethod.PGD, TrainingMethod.CROWN_IBP):
        began = time.perf_counter()
        network = _trained(data, method, epsilon, epochs)
        title = f"784-50-50-10 trained by {method.value}, MNIST, epsilon {epsilon}"
        print(f"{title}: trained in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        quick = tuple(m for m in Method if m not in _SLOW)
        options = CertifyOptions(epsilon, quick, timeout_seconds=timeout_seconds)
        items = _certified(network, data, options, count)
        _table(f"{title}, first {count} inputs", items, quick)
        every = replace(options, methods=tuple(Method))
        _table(f"{title}, first {few} inputs", _certified(network, data, every, few), tuple(Method))


def _trained(data: Data, method: TrainingMethod, epsilon: float, epochs: int) -> Network:
    training, validation, _ = data
    network = build_architecture(_WIDTHS, training.x.shape[1:], 10, seed=0)
    options = TrainingOptions(method=method, epsilon=epsilon, epochs=epochs, seed=0)
    return train(network, training, validation, options).network


def _certified(
    network: Network, data: Data, options: CertifyOptions, count: int
) -> list[dict[str, Any]]:
    found = certify_items(network, data[2], options, indices=range(count))
    return [item.to_json() for item in found]


def _table(title: str, items: Sequence[dict[str, Any]], methods: Sequence[Method]) -> None:
    right = [item for item in items if item["verdict"] != "misclassified"]
    rows = []
    for method in methods:
        name = method.value
        lowers = [item["lower"].get(name) for item in right]
        gaps = [item["gap"].get(name) for item in right]
        known = [gap for gap in gaps if gap is not None]
        spent = [item["seconds"].get(name, 0.0) for item in right]
        rows.append(
            [
                name,
                statistics.fmean(known) if known else "–",
                statistics.median(known) if known else "–",
                sum(lower is not None and lower > 0 for lower in lowers),
                statistics.fmean(spent),
            ]
        )
    falsified = sum(item["verdict"] == "falsified" for item in right)
    header = ["method", "mean gap", "median gap", "verified", "mean s per input"]
    print_table(f"{title} ({len(right)} correct, {falsified} falsified)", header, rows)
    _beside_lp(right)


def _beside_lp(items: Sequence[dict[str, Any]]) -> None:
    """Say how often sdp is strictly tighter than lp, where both gave a bound."""
    pairs = [(item["lower"].get("sdp"), item["lower"].get("lp")) for item in items]
    both = [(sdp, lp) for sdp, lp in pairs if sdp is not None and lp is not None]
    if both:
        tighter = sum(sdp > lp + 1e-6 for sdp, lp in both)
        print(f"\nsdp is strictly tighter than lp on {tighter} of {len(both)} inputs")
