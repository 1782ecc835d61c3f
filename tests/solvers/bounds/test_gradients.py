"""Bounds are differentiable in the network's parameters: autograd against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models import operators as ops
from models.network import Network
from models.operators import Operator
from solvers.bounds import Interval
from solvers.methods import Method
from tests.helpers.random_graphs import GraphBuilder, relu_chain
from tests.solvers.bounds.support import bound, random_margins, random_region, uniform

DIFFERENTIABLE = [Method.IBP, Method.CROWN_IBP, Method.FAST_LIN, Method.CROWN]
STEP = 1e-6


def chain_of(activation: Callable[[GraphBuilder], Operator], seed: int) -> Network:
    builder = GraphBuilder((1, 3), seed)
    for _ in range(2):
        builder.linear(4)
        builder.add(activation(builder))
    builder.linear(2)
    return builder.network()


def image_network(seed: int) -> Network:
    """Return a residual convolutional network with every kind of pooling."""
    builder = GraphBuilder((1, 2, 5, 5), seed)
    kernel = builder.normal(3, 2, 3, 3, scale=0.5)
    first = builder.add(ops.Convolution(kernel, builder.normal(3), (1, 1), (1, 1), (1, 1)))
    scale, bias, mean = (builder.normal(3) for _ in range(3))
    builder.add(ops.BatchNormalization(scale, bias, mean, builder.uniform(0.5, 2, 3), 1e-5))
    activated = builder.add(ops.PRelu(builder.uniform(0.1, 0.4, 3, 1, 1)))
    builder.add(ops.Add((1.0, 0.5)), first, activated)
    builder.add(ops.Relu())
    builder.add(ops.AveragePool((2, 2), (1, 1), (1, 1)))
    kernel = builder.normal(3, 2, 2, 2, scale=0.5)
    builder.add(ops.ConvolutionTranspose(kernel, builder.normal(2), (2, 2), (1, 1), (0, 0), (1, 1)))
    builder.add(ops.MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)))
    builder.add(ops.Reshape((1, 50)))
    builder.linear(2)
    return builder.network()


NETWORKS: dict[str, Callable[[int], Network]] = {
    "relu": lambda seed: relu_chain((3, 5, 4, 2), seed),
    "leaky": lambda seed: chain_of(lambda _: ops.LeakyRelu(0.2), seed),
    "concave": lambda seed: chain_of(lambda _: ops.LeakyRelu(1.5), seed),
    "prelu": lambda seed: chain_of(lambda b: ops.PRelu(b.uniform(0.1, 0.5, 4)), seed),
    "clip": lambda seed: chain_of(lambda _: ops.Clip(-0.7, 0.9), seed),
    "sigmoid": lambda seed: chain_of(lambda _: ops.Sigmoid(), seed),
    "tanh": lambda seed: chain_of(lambda _: ops.Tanh(), seed),
    **{
        str(curve): lambda seed, curve=curve: chain_of(lambda _: curve, seed)  # type: ignore[misc]
        for curve in (
            ops.Gelu(),
            ops.Silu(),
            ops.HardSwish(),
            ops.Elu(1.6),
            ops.Softplus(),
            ops.Power(2.0),
            ops.Power(3.0),
            ops.Erf(),
        )
    },
    "image": image_network,
}


def check_gradient(value: Callable[[list[Tensor]], Tensor], at: list[Tensor], seed: int) -> None:
    """Compare autograd with central differences along random directions."""
    leaves = [tensor.clone().requires_grad_() for tensor in at]
    gradients = torch.autograd.grad(value(leaves), leaves, materialize_grads=True)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients)
    for number in range(3):
        directions = [uniform(seed + 31 * number, *tensor.shape) for tensor in at]
        with torch.no_grad():
            ahead, behind = (
                value([x + sign * STEP * d for x, d in zip(at, directions, strict=True)])
                for sign in (1, -1)
            )
        slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
        expected = (ahead - behind) / (2 * STEP)
        # Central differences are good to about STEP² plus rounding / STEP.
        torch.testing.assert_close(torch.as_tensor(slope), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", DIFFERENTIABLE)
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_in_the_parameters(kind: str, method: Method, seed: int) -> None:
    network = NETWORKS[kind](seed)
    region = random_region(network, seed, (0.4, 1.0))
    margins = random_margins(network, 2, seed)
    names = sorted(network.parameters)

    def value(tensors: list[Tensor]) -> Tensor:
        changed = network.with_parameters(dict(zip(names, tensors, strict=True)))
        return bound(changed, region, margins, method).lower.sum()

    check_gradient(value, [network.parameters[name] for name in names], seed)


@pytest.mark.parametrize("method", DIFFERENTIABLE)
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "image"])
def test_gradients_in_the_region(kind: str, method: Method) -> None:
    network = NETWORKS[kind](3)
    region = random_region(network, 3, (0.4, 1.0))
    margins = random_margins(network, 2, 3)

    def value(ends: list[Tensor]) -> Tensor:
        return bound(network, Interval(ends[0], ends[1]), margins, method).lower.sum()

    check_gradient(value, [region.lower, region.upper], 3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_point_region_has_finite_gradients(kind: str) -> None:
    network = NETWORKS[kind](4)
    region = random_region(network, 4, (0.0,))
    margins = random_margins(network, 1, 4)
    leaves = {name: value.clone().requires_grad_() for name, value in network.parameters.items()}
    for method in DIFFERENTIABLE:
        lower = bound(network.with_parameters(leaves), region, margins, method).lower
        for gradient in torch.autograd.grad(
            lower.sum(), list(leaves.values()), materialize_grads=True
        ):
            assert gradient.isfinite().all()


def test_optimised_slopes_leave_the_parameters_alone() -> None:
    network = relu_chain((3, 6, 6, 2), 5)
    leaves = {name: value.clone().requires_grad_() for name, value in network.parameters.items()}
    region = random_region(network, 5, (1.0,))
    margins = random_margins(network, 1, 5)
    trained = bound(network.with_parameters(leaves), region, margins, Method.ALPHA_CROWN)
    plain = bound(network, region, margins, Method.ALPHA_CROWN)
    torch.testing.assert_close(trained.lower, plain.lower)
    assert not trained.lower.requires_grad
    assert all(leaf.grad is None for leaf in leaves.values())
