"""Verified MNIST test images by relaxation: crown, fastc2v, lp, optc2v, and the attack's limit.

The experiment of Tjandraatmadja et al. 2020, table 1, on other networks: theirs are not at hand.
Bounds by propagation run over the first images of the test set, linear programs over fewer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.shared import print_table, shared_folder
from models import load_network
from models.fold import fold_affine
from models.network import Network
from solvers.attack import AttackOptions, attack
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.certification.per_item import ITEM_METHODS, ItemTask, run_item_method
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.problem import Case, linf_ball, robustness

__all__ = ["run"]

_BATCH = 16
_CLASSES = 10
_PROGRAMS = (Method.LP, Method.OPTC2V)
_HEADER = (
    "network",
    "epsilon",
    "clean",
    "crown",
    "fastc2v",
    "attack's limit",
    "crown s",
    "(crown + fastc2v) / crown",
    "clean of the first",
    *(method.value for method in (Method.CROWN, Method.FASTC2V, *_PROGRAMS)),
    "lp s per image",
    "optc2v s per image",
)


@dataclass(frozen=True)
class _Setting:
    """A network at a radius, with how many images each kind of method gets."""

    path: str
    epsilon: float
    images: int = 64
    programs: int = 12
    seconds: float = 6.0


_SETTINGS = (
    _Setting("eran/onnx/mnist_relu_9_200.onnx", 0.015),
    _Setting("mnist_fc/onnx/mnist-net_256x2.onnx", 0.02),
    _Setting("mnist_fc/onnx/mnist-net_256x2.onnx", 0.03),
    _Setting("mnist_fc/onnx/mnist-net_256x4.onnx", 0.02),
    _Setting("mnist_fc/onnx/mnist-net_256x4.onnx", 0.03),
    _Setting("mnist_fc/onnx/mnist-net_256x6.onnx", 0.02),
    _Setting("sdp/onnx/mnist_cnn_a_adv.onnx", 0.05, images=16, programs=8),
)


def run() -> None:
    """Print one row per network and radius, for all images and for those with programs."""
    shared = shared_folder()
    torch.set_num_threads(1)
    print_table("Verified MNIST test images by relaxation", _HEADER, [])
    for setting in _SETTINGS:
        cases, network = _cases(shared, setting)
        steps = _bounded(network, cases)
        few = sum(1 for index, _ in cases if index < setting.programs)
        row = [*_name(setting), len(cases), *_counts(network, cases, steps)]
        row += [few, *_solved(network, cases[:few], steps, setting)]
        # as they come: the last networks take minutes
        cells = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print("| " + " | ".join(cells) + " |", flush=True)
    limits = ", ".join(f"{Path(s.path).stem} {s.images}/{s.programs}" for s in _SETTINGS)
    print(
        f"\nimages for propagation / for programs: {limits}; programs are solved where what they "
        f"start from proves nothing, {_SETTINGS[0].seconds:g} s each at most"
    )


def _name(setting: _Setting) -> list[object]:
    return [Path(setting.path).stem, setting.epsilon]


def _cases(shared: Path, setting: _Setting) -> tuple[list[tuple[int, Case]], Network]:
    """Return the images that are classified correctly, by position, and the network."""
    network = load_network((shared / "benchmarks" / setting.path).read_bytes())
    network = fold_affine(network.to(torch.float64))
    data = np.load(shared / "data" / "mnist.npz")
    x = data["x_test"][: setting.images] / 255.0
    x = x.reshape(len(x), *network.input_shape)
    found = network(torch.from_numpy(x)).reshape(len(x), -1).argmax(1).numpy()
    right = np.flatnonzero(found == data["y_test"][: setting.images])
    cases = [
        (
            int(index),
            Case(
                linf_ball(x[index], setting.epsilon),
                robustness(int(data["y_test"][index]), _CLASSES),
            ),
        )
        for index in right
    ]
    return cases, network


@dataclass(frozen=True, eq=False)
class _Step:
    """The bounds of one batch."""

    crown: LadderStep
    fastc2v: LadderStep

    def lower(self, method: Method, position: int) -> float:
        """Return the bound of one image."""
        step = self.crown if method is Method.CROWN else self.fastc2v
        return step.lower(position)


def _bounded(network: Network, cases: Sequence[tuple[int, Case]]) -> list[_Step]:
    steps = []
    for first in range(0, len(cases), _BATCH):
        batch = CaseBatch(network, [case for _, case in cases[first : first + _BATCH]])
        crown = batch.bound(Method.CROWN, options=BoundOptions())
        known = crown.intermediate
        steps.append(_Step(crown, batch.bound(Method.FASTC2V, options=BoundOptions(), known=known)))
    return steps


def _counts(
    network: Network, cases: Sequence[tuple[int, Case]], steps: Sequence[_Step]
) -> list[object]:
    """Return how many are verified, how many withstand the attack, and what the bounds took."""
    verified = [
        sum(steps[at // _BATCH].lower(method, at % _BATCH) > 0 for at in range(len(cases)))
        for method in (Method.CROWN, Method.FASTC2V)
    ]
    small = network.to(torch.float32)
    found = attack(
        small, [case for _, case in cases], AttackOptions(), budget=Budget.of_seconds(20)
    )
    withstood = sum(result.candidate is None or result.margin > 0 for result in found)
    crown = sum(step.crown.seconds for step in steps)
    both = crown + sum(step.fastc2v.seconds for step in steps)
    return [*verified, withstood, crown, both / crown]


def _solved(
    network: Network,
    cases: Sequence[tuple[int, Case]],
    steps: Sequence[_Step],
    setting: _Setting,
) -> list[object]:
    """Return how many are verified by each method, and the seconds of the programs."""
    verified = dict.fromkeys((Method.CROWN, Method.FASTC2V, *_PROGRAMS), 0)
    seconds = dict.fromkeys(_PROGRAMS, 0.0)
    for at, (_, case) in enumerate(cases):
        step, position = steps[at // _BATCH], at % _BATCH
        for method in (Method.CROWN, Method.FASTC2V):
            verified[method] += step.lower(method, position) > 0
        for method in _PROGRAMS:
            began = time.perf_counter()
            verified[method] += _program_lower(network, case, (method, step, position), setting) > 0
            seconds[method] += time.perf_counter() - began
    per_image = [seconds[method] / max(1, len(cases)) for method in _PROGRAMS]
    return [*verified.values(), *per_image]


def _program_lower(
    network: Network, case: Case, place: tuple[Method, _Step, int], setting: _Setting
) -> float:
    method, step, position = place
    entry = ITEM_METHODS[method]
    start = step.crown if entry.start is Method.CROWN else step.fastc2v
    if start.lower(position) > 0:
        return start.lower(position)
    task = ItemTask(
        network,
        case,
        start.node_bounds(position),
        start.clause_lower[position],
        Budget.of_seconds(setting.seconds),
    )
    return run_item_method(entry, task, method.value).lower
