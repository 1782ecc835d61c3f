"""Cases for the tests of convex programs, and solvers that lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.network import Network
from models.operators import Add, Clip, Convolution, LeakyRelu, Linear, MaxPool, Relu, Reshape
from solvers.bounds import BoundOptions
from solvers.budget import Budget
from solvers.convex.programs import LinearAnswer, LinearSession, session_maker
from solvers.exact.model import MilpModel, Rows
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.problem import Box, Case, robustness
from tests.helpers.graphs import GraphBuilder, mlp

FloatArray = NDArray[np.float64]


def dense(seed: int, sizes: tuple[int, ...] = (4, 10, 8, 3)) -> Network:
    """Return a fully connected ReLU network."""
    return mlp(sizes, seed=seed).to(torch.float64)


def convolutional(seed: int) -> Network:
    """Return convolution, residual sum, maximum over windows, leaky and clipped units."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[np.float64]:
        return rng.normal(size=shape) * 0.6

    b = GraphBuilder((1, 1, 5, 5))
    unit = ((1, 1), (1, 1), (1, 1))
    b.add(Convolution(b.parameter(normal(2, 1, 3, 3)), b.parameter(normal(2)), *unit))
    first = b.add(Relu())
    b.add(Convolution(b.parameter(normal(2, 2, 3, 3)), b.parameter(normal(2)), *unit))
    b.add(Add((1.0, 1.0)), b.nodes[-1].name, first)
    b.add(Relu())
    b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)))
    b.add(Reshape((1, 8)))
    b.add(Linear(b.parameter(normal(6, 8)), b.parameter(normal(6))))
    b.add(LeakyRelu(0.1))
    b.add(Linear(b.parameter(normal(5, 6)), b.parameter(normal(5))))
    b.add(Clip(-1.0, 1.0))
    b.add(Linear(b.parameter(normal(3, 5)), b.parameter(normal(3))))
    return b.network().to(torch.float64)


def residual(seed: int) -> Network:
    """Return convolutions with a ReLU behind the sum of a branch and what it skips."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder((1, 1, 4, 4))
    unit = ((1, 1), (1, 1), (1, 1))

    def weights(*shape: int) -> NDArray[np.float64]:
        return rng.normal(size=shape) * 0.6

    b.add(Convolution(b.parameter(weights(2, 1, 3, 3)), b.parameter(weights(2)), *unit))
    first = b.add(Relu())
    b.add(Convolution(b.parameter(weights(2, 2, 3, 3)), None, *unit))
    b.add(Relu())
    b.add(Convolution(b.parameter(weights(2, 2, 3, 3)), None, *unit))
    b.add(Add((1.0, 1.0)), b.nodes[-1].name, first)
    b.add(Relu())
    b.add(Reshape((1, 32)))
    b.add(Linear(b.parameter(weights(3, 32)), b.parameter(weights(3))))
    return b.network().to(torch.float64)


def case_of(network: Network, seed: int, width: float = 0.4) -> Case:
    """Return a box around a random input, with the network's own answer there as label."""
    rng = np.random.default_rng(seed)
    center = rng.normal(size=network.input_shape)
    y = network(torch.from_numpy(center[None])).reshape(-1)
    region = Box(center - width, center + width * rng.random(center.shape))
    return Case(region, robustness(int(y.argmax()), network.output_size))


def bounded(network: Network, case: Case, method: Method = Method.CROWN) -> LadderStep:
    """Return what a method of propagation proves of one case."""
    return CaseBatch(network, [case]).bound(method, options=BoundOptions())


def least_sample(network: Network, case: Case, seed: int = 0, count: int = 2000) -> FloatArray:
    """Return the least margin of every clause over random inputs and corners."""
    rng = np.random.default_rng(seed)
    share = rng.random((count, *network.input_shape))
    share[::2] = share[::2] > 0.5
    x = case.region.lower + share * (case.region.upper - case.region.lower)
    y = network(torch.from_numpy(x)).reshape(count, -1).numpy()
    return np.array([clause.margin(y).min() for clause in case.specification.clauses])


@dataclass
class Liar(LinearSession):
    """HiGHS with its answers changed."""

    true: LinearSession
    lie: Callable[[LinearAnswer], LinearAnswer]

    def minimise(self, objective: FloatArray, budget: Budget) -> LinearAnswer:
        return self.lie(self.true.minimise(objective, budget))

    def add_rows(self, rows: Rows) -> None:
        self.true.add_rows(rows)

    def remove_rows(self, index: NDArray[np.int64]) -> None:
        self.true.remove_rows(index)


def lying(lie: Callable[[LinearAnswer], LinearAnswer]) -> Callable[[MilpModel], LinearSession]:
    """Return a maker of sessions that lie."""
    honest = session_maker()
    return lambda model: Liar(honest(model), lie)
