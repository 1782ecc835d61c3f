"""Perturbed parameters: weights and biases that may be anything within a radius.

With W in [W₀ − R, W₀ + R] elementwise and x in a region, W x lies within R |x| of W₀ x, so that the
layer is its nominal self give or take a *drift*: R times the greatest magnitude of each input, plus
the radius of the bias. Intervals widen by the drift; a linear function of the layer with
coefficients A loses |A| times the drift. Layers that share a parameter are treated as if each had
a copy of its own, which encloses what is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.errors import BoundsError, ShapeError
from models.graph import Node
from models.network import Network
from models.operators import Convolution, ConvolutionTranspose, Linear, Operator
from models.parameters import MultiplyBy, Narrow, ParameterRef, Parameters, Permute, ReshapeTo
from solvers.bounds.crossing import Coefficients, Shapes, cross_affine
from solvers.bounds.interval import ROUNDING_UNITS, Interval
from solvers.bounds.patches import Patches
from solvers.bounds.relaxation import Relaxation
from solvers.bounds.rules import AffineRule, rule_for
from solvers.errors import UnsupportedMethodError

__all__ = ["Drift", "ParameterRadii", "PerturbedAffine", "drifts_of"]

ParameterRadii = Mapping[str, float | Tensor]
"""How far each entry of a named parameter may move: one number, or one per entry."""

_LINEAR_STEPS = (MultiplyBy, Narrow, Permute, ReshapeTo)


@dataclass(frozen=True)
class Drift:
    """How far a layer's output may move because its parameters do.

    Attributes:
        node: The layer.
        weight, bias: Radii as the operator uses them, at least 0; None where nothing moves.
    """

    node: Node
    weight: Tensor | None
    bias: Tensor | None

    def relaxation(
        self, bounds: Mapping[str, Interval], shapes: Shapes, parameters: Parameters
    ) -> PerturbedAffine:
        """Return what encloses the layer, given bounds of its input by name."""
        drift = self.of(bounds[self.node.inputs[0]])
        return PerturbedAffine(self.node, shapes, parameters, drift)

    def of(self, inputs: Interval) -> Tensor:
        """Return the drift on such inputs, shape `(batch, *node_shape)`."""
        largest = torch.maximum(inputs.lower.abs(), inputs.upper.abs())
        apply = _APPLY[type(self.node.operator)]
        drift = inputs.lower.new_zeros(inputs.batch, *self.node.shape)
        if self.weight is not None:
            drift = apply(self.node.operator, largest, self.weight, self.bias)
        elif self.bias is not None:
            # A layer of maps has a bias per channel, with the places behind.
            places = 0 if isinstance(self.node.operator, Linear) else len(self.node.shape) - 2
            drift = drift + self.bias.reshape(-1, *(1,) * places)
        # More than the rounding of the sums that it comes from.
        return drift * (1.0 + ROUNDING_UNITS * torch.finfo(drift.dtype).eps)


@dataclass(frozen=True)
class PerturbedAffine(Relaxation):
    """A layer with perturbed parameters: its nominal self, less |A| times the drift.

    Attributes:
        node: The layer.
        shapes: Of its inputs.
        parameters: The network's.
        drift: Shape `(batch, *node_shape)`.
    """

    node: Node
    shapes: Shapes
    parameters: Parameters
    drift: Tensor
    _rule: AffineRule[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rule = rule_for(self.node.operator)
        assert isinstance(rule, AffineRule)  # noqa: S101  drifts_of lets no other pass
        object.__setattr__(self, "_rule", rule)

    def backward(self, coefficients: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Cross the layer and give up the drift."""
        lost = (coefficients.abs() * self.drift.unsqueeze(1)).flatten(2).sum(-1)
        passed, constant = self._cross(coefficients, lost)
        return tuple(value for value in passed if isinstance(value, Tensor)), constant

    def backward_patches(self, patches: Patches) -> tuple[tuple[Patches, ...], Tensor] | None:
        """Do the same to windows; where they became wide, as whole maps."""
        lost = (patches.values.abs() * patches.read(self.drift)).flatten(2).sum(-1)
        passed, constant = self._cross(patches, lost)
        windows = tuple(value for value in passed if isinstance(value, Patches))
        return (windows, constant) if len(windows) == len(passed) else None

    def _cross(self, coefficients: Coefficients, lost: Tensor) -> tuple[list[Coefficients], Tensor]:
        passed, added = cross_affine(
            self.node, self._rule, coefficients, shapes=self.shapes, parameters=self.parameters
        )
        return passed, -lost if added is None else added - lost


def drifts_of(network: Network, radii: ParameterRadii | None) -> Mapping[str, Drift]:
    """Return the drift of every layer that uses a perturbed parameter, by node name.

    Args:
        network: Gives the parameters and the layers.
        radii: By parameter name, in the units of the stored tensor.

    Raises:
        BoundsError: There is no such parameter, or a radius is negative or not finite.
        ShapeError: Radii do not have the parameter's shape.
        UnsupportedMethodError: Something other than a layer with weights uses the parameter.
    """
    if not radii:
        return MappingProxyType({})
    full = {name: _checked(network, name, radius) for name, radius in radii.items()}
    return MappingProxyType(
        {
            node.name: _drift(node, full)
            for node in network.graph.nodes
            if any(reference.name in full for reference in node.operator.references())
        }
    )


def _checked(network: Network, name: str, radius: float | Tensor) -> Tensor:
    if name not in network.parameters:
        raise BoundsError(
            f"there is no parameter {name!r} to perturb; the network has "
            f"{', '.join(sorted(network.parameters))}"
        )
    there = network.parameters[name]
    given = torch.as_tensor(radius, dtype=there.dtype, device=there.device)
    if not torch.isfinite(given).all() or (given < 0).any():
        raise BoundsError(f"the radius of parameter {name!r} must be finite and 0 or more")
    if given.shape not in {torch.Size(()), there.shape}:
        raise ShapeError(
            f"the radius of parameter {name!r} has shape {tuple(given.shape)}, the parameter "
            f"{tuple(there.shape)}; give one number, or one per entry"
        )
    return given.expand(there.shape)


def _drift(node: Node, radii: Mapping[str, Tensor]) -> Drift:
    operator = node.operator
    if not isinstance(operator, Linear | Convolution | ConvolutionTranspose):
        raise UnsupportedMethodError(
            f"node {node.name!r} ({type(operator).__name__}) uses a perturbed parameter; only "
            "weights and biases of linear and convolutional layers may be perturbed"
        )
    bias = None if operator.bias is None else _radius(node, operator.bias, radii)
    return Drift(node, _radius(node, operator.weight, radii), bias)


def _radius(node: Node, reference: ParameterRef, radii: Mapping[str, Tensor]) -> Tensor | None:
    if reference.name not in radii:
        return None
    if not all(isinstance(step, _LINEAR_STEPS) for step in reference.steps):
        raise UnsupportedMethodError(
            f"node {node.name!r} does not use parameter {reference.name!r} itself but a nonlinear "
            "function of it, so a radius cannot be carried over"
        )
    # A factor in front may be negative; a radius has no sign.
    return reference.resolve(radii).abs()


def _linear(operator: Operator, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ARG001
    return functional.linear(x, weight, bias)


def _convolve(operator: Operator, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert isinstance(operator, Convolution | ConvolutionTranspose)  # noqa: S101  by the table
    return operator.convolve(x, weight, bias)


_APPLY: Mapping[type[Operator], Callable[[Operator, Tensor, Tensor, Tensor | None], Tensor]] = {
    Linear: _linear,
    Convolution: _convolve,
    ConvolutionTranspose: _convolve,
}
