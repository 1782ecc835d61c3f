"""Time the exact method: solvers, encodings of stable neurons, and bound tightening.

Trains small fully connected networks on images, bounds each test input with `crown`, then runs the
exact method under every setting asked for. Prints one table per network; asserts nothing.

    python benchmarks/exact_solvers.py mnist.npz --hidden 50,50 --epsilon 0.03 --inputs 5
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.graph import Graph, Node
from models.network import Network
from models.operators import Input, Linear, Relu
from models.parameters import ParameterRef
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.exact import (
    BoundTightening,
    EncodingOptions,
    ExactMode,
    ExactOptions,
    ExactResult,
    SolverName,
    SolverSuite,
    StableEncoding,
    Tolerances,
    exact_margin,
)
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.problem import Case, linf_ball, robustness


@dataclass(frozen=True)
class Images:
    """Flat images in [0, 1], shape `(count, 1, pixels)`, with labels."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


@dataclass(frozen=True)
class Instance:
    """One input with what cheap bounds say of it."""

    case: Case
    bounds: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    clause_lower: NDArray[np.float64]


def load_images(path: Path) -> Images:
    """Read `x_train`, `y_train`, `x_test` and `y_test`, uint8 images of any shape."""
    with np.load(path, allow_pickle=False) as data:
        parts = {key: data[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    flat = {
        key: torch.from_numpy(parts[key].reshape(len(parts[key]), 1, -1) / 255.0).float()
        for key in ("x_train", "x_test")
    }
    labels = {key: torch.from_numpy(parts[key].astype(np.int64)) for key in ("y_train", "y_test")}
    return Images(flat["x_train"], labels["y_train"], flat["x_test"], labels["y_test"])


def fully_connected(sizes: Sequence[int], seed: int) -> Network:
    """Return Linear layers with Relu in between, He initialised."""
    generator = torch.Generator().manual_seed(seed)
    nodes, parameters = [Node("x", Input(), (), (1, sizes[0]))], {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        if layer:
            nodes.append(Node(f"a{layer}", Relu(), (nodes[-1].name,), (1, inputs)))
        weight = torch.randn(outputs, inputs, generator=generator) * math.sqrt(2.0 / inputs)
        parameters[f"w{layer}"], parameters[f"b{layer}"] = weight, torch.zeros(outputs)
        linear = Linear(ParameterRef(f"w{layer}"), ParameterRef(f"b{layer}"))
        nodes.append(Node(f"z{layer}", linear, (nodes[-1].name,), (1, outputs)))
    return Network(Graph(tuple(nodes), nodes[-1].name), parameters)


def train(network: Network, images: Images, *, epochs: int, seed: int) -> Network:
    """Return the network after a few epochs of Adam on the cross-entropy."""
    parameters = {key: value.clone().requires_grad_() for key, value in network.parameters.items()}
    optimizer = torch.optim.Adam(list(parameters.values()), lr=2e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(images.x_train), generator=generator).split(128):
            logits = network.graph.evaluate(images.x_train[batch], parameters)[network.graph.output]
            optimizer.zero_grad()
            functional.cross_entropy(logits[:, 0], images.y_train[batch]).backward()
            optimizer.step()
    return network.with_parameters({key: value.detach() for key, value in parameters.items()})


def instances(network: Network, images: Images, *, epsilon: float, count: int) -> list[Instance]:
    """Return the first inputs that are classified rightly and that `crown` leaves open."""
    wide = network.to(torch.float64)
    chosen: list[Instance] = []
    for x, label in zip(images.x_test, images.y_test, strict=True):
        if len(chosen) == count:
            break
        logits = network(x[None])[0]
        if int(logits.argmax()) != int(label):
            continue
        region = linf_ball(x.numpy(), epsilon)
        case = Case(region, robustness(int(label), logits.numel()))
        step = CaseBatch(wide, [case]).bound(Method.CROWN, options=BoundOptions())
        if step.lower(0) <= 0:
            chosen.append(Instance(case, step.node_bounds(0), step.clause_lower[0]))
    return chosen


def settings(arguments: argparse.Namespace) -> Iterator[tuple[str, ExactOptions]]:
    """Yield a name and options for every combination asked for."""
    suite = SolverSuite()
    combinations = product(
        arguments.modes, arguments.solvers, arguments.stable, arguments.tightening
    )
    for mode, solver, stable, tightening in combinations:
        yield (
            f"{mode:9} {solver:7} {stable:11} {tightening:5}",
            ExactOptions(
                mode=ExactMode(mode),
                solver=SolverName(solver),
                tolerances=Tolerances(dual=arguments.dual_tolerance),
                tightening=BoundTightening(tightening),
                encoding=EncodingOptions(stable=StableEncoding(stable)),
                suite=suite,
            ),
        )


def run(
    network: Network, instance: Instance, options: ExactOptions, seconds: float
) -> tuple[float, ExactResult]:
    """Return wall seconds and the result."""
    began = time.perf_counter()
    result = exact_margin(
        network,
        instance.case,
        instance.bounds,
        options=options,
        budget=Budget.of_seconds(seconds),
        clause_lower=instance.clause_lower,
    )
    return time.perf_counter() - began, result


def report(name: str, outcomes: Sequence[tuple[float, ExactResult]]) -> None:
    """Print one row."""
    seconds = [wall for wall, _ in outcomes]
    ended: dict[str, int] = {}
    for _, result in outcomes:
        ended[result.status.value] = ended.get(result.status.value, 0) + 1
    width = max(result.upper - result.lower for _, result in outcomes)
    print(
        f"{name} {statistics.median(seconds):8.2f} {sum(seconds):8.2f} {max(seconds):8.2f} "
        f"{sum(result.nodes for _, result in outcomes):8d} {width:9.2g}  "
        + ", ".join(f"{count} {status}" for status, count in sorted(ended.items())),
        flush=True,
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--hidden", default="50,50", help="sizes of hidden layers")
    parser.add_argument("--epsilon", type=float, default=0.03)
    parser.add_argument("--inputs", type=int, default=5, help="that crown leaves open")
    parser.add_argument("--seconds", type=float, default=20.0, help="limit per input")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dual-tolerance", type=float, default=1e-9)
    parser.add_argument("--modes", nargs="+", default=["decide", "optimize"])
    parser.add_argument("--solvers", nargs="+", default=["highs", "scip"])
    parser.add_argument("--stable", nargs="+", default=["substitute"])
    parser.add_argument("--tightening", nargs="+", default=["none"])
    return parser.parse_args()


def main() -> None:
    """Train, bound, solve, print."""
    arguments = parse()
    images = load_images(arguments.data)
    hidden = [int(size) for size in arguments.hidden.split(",")]
    sizes = [images.x_train.shape[2], *hidden, int(images.y_train.max()) + 1]
    network = train(
        fully_connected(sizes, arguments.seed),
        images,
        epochs=arguments.epochs,
        seed=arguments.seed,
    )
    accuracy = (network(images.x_test)[:, 0].argmax(1) == images.y_test).float().mean()
    todo = instances(network, images, epsilon=arguments.epsilon, count=arguments.inputs)
    print(
        f"{'-'.join(map(str, sizes))}, accuracy {accuracy:.3f}, epsilon {arguments.epsilon}, "
        f"{len(todo)} inputs, {arguments.seconds:g} s each"
    )
    print(
        f"{'mode':9} {'solver':7} {'stable':11} {'tight':5} {'median s':>8} {'sum s':>8} "
        f"{'max s':>8} {'nodes':>8} {'max gap':>9}  status"
    )
    for name, options in settings(arguments):
        report(name, [run(network, one, options, arguments.seconds) for one in todo])


if __name__ == "__main__":
    main()
