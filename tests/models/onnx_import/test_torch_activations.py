"""Every activation of torch that can be read, as both of its exporters write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from models import fold_affine
from models import operators as ops
from models.operators import Operator
from tests.helpers.agreement import assert_agrees, torch_outputs
from tests.helpers.exports import exported


class Lambda(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply."""
        return self.function(x)


# Each activation, and the one operator that it becomes between scalings.
SINGLE: dict[str, tuple[nn.Module, type[Operator]]] = {
    "gelu": (nn.GELU(), ops.Gelu),
    "gelu of tanh": (nn.GELU(approximate="tanh"), ops.TanhGelu),
    "gelu written out": (Lambda(lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5))), ops.Gelu),
    "silu": (nn.SiLU(), ops.Silu),
    "quick gelu": (Lambda(lambda x: x * torch.sigmoid(1.702 * x)), ops.Silu),
    "mish": (nn.Mish(), ops.Mish),
    "hard swish": (nn.Hardswish(), ops.HardSwish),
    "hard sigmoid": (nn.Hardsigmoid(), ops.Clip),
    "softplus": (nn.Softplus(), ops.Softplus),
    "steep softplus": (nn.Softplus(beta=3.0), ops.Softplus),
    "softsign": (nn.Softsign(), ops.Softsign),
    "elu": (nn.ELU(0.7), ops.Elu),
    "selu": (nn.SELU(), ops.Elu),
    "celu": (nn.CELU(1.3), ops.Elu),
    "erf": (Lambda(torch.erf), ops.Erf),
    "sine": (Lambda(torch.sin), ops.Sin),
    "cosine": (Lambda(torch.cos), ops.Cos),
    "exponential": (Lambda(torch.exp), ops.Exp),
    "square": (Lambda(lambda x: x**2), ops.Power),
    "cube": (Lambda(lambda x: x**3), ops.Power),
    "absolute": (Lambda(torch.abs), ops.LeakyRelu),
    "sign": (Lambda(torch.sign), ops.Sign),
    "floor": (Lambda(torch.floor), ops.Floor),
}
SEVERAL: dict[str, nn.Module] = {
    "log of sigmoid": nn.LogSigmoid(),
    "tanhshrink": nn.Tanhshrink(),
    "softshrink": nn.Softshrink(),
    "inverse": Lambda(lambda x: 1 / (1 + x**2)),
    "root": Lambda(lambda x: torch.sqrt(1 + x**2)),
    "logarithm": Lambda(lambda x: torch.log(1 + torch.abs(x))),
    "two sides": Lambda(lambda x: torch.where(x > 0.1, x, 0.5 * x)),
}
# What the newer exporter, which takes a second each, writes in a way of its own.
DIFFERENT = [
    *("silu", "mish", "gelu of tanh", "gelu written out", "steep softplus", "softsign", "selu"),
    *("softshrink", "two sides"),
]
exporters = pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])


def network_with(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 3)).eval()


def check(activation: nn.Module, *, dynamo: bool) -> list[type[Operator]]:
    """Import, compare with torch and onnxruntime, fold, and return the operators."""
    if dynamo:
        pytest.importorskip("onnxscript")
    module, x = network_with(activation), torch.randn(1, 4)
    network = assert_agrees(exported(module, x, dynamo=dynamo))
    folded = fold_affine(network.to(torch.float64))
    expected = torch_outputs(network, x.numpy()[None])
    assert abs(torch_outputs(folded, x.numpy()[None]) - expected).max() < 1e-9
    return [type(node.operator) for node in network.graph.nodes]


def by_both(names: Iterable[str]) -> list[tuple[str, bool]]:
    """Return names with False, and those that the newer exporter writes differently with True."""
    return [(name, dynamo) for name in names for dynamo in (False, True)[: 1 + (name in DIFFERENT)]]


@pytest.mark.parametrize(("name", "dynamo"), by_both(SINGLE))
def test_activations_that_are_one_operator(name: str, dynamo: bool) -> None:
    activation, operator = SINGLE[name]
    kinds = [kind for kind in check(activation, dynamo=dynamo) if kind is not ops.Scale]
    assert kinds == [ops.Input, ops.Linear, operator, ops.Linear]


@pytest.mark.parametrize(("name", "dynamo"), by_both(SEVERAL))
def test_activations_of_several_operators(name: str, dynamo: bool) -> None:
    kinds = check(SEVERAL[name], dynamo=dynamo)
    assert kinds[0] is ops.Input
    assert kinds.count(ops.Linear) == 2


@exporters
def test_interpolation(dynamo: bool) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    for corners in (False, True)[dynamo:]:
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=corners)
        module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), up, nn.GELU(), nn.Flatten()).eval()
        assert_agrees(exported(module, torch.randn(1, 1, 3, 4), dynamo=dynamo))
