"""Products that are one function of one value, such as x · sigmoid(x).

A product of two activations can only be bounded as if they were independent. Exporters write Gelu,
Silu, Mish, HardSwish and Softsign as such products, so these are put together again. Whatever
factors the file has become scalings before and behind the function, as precise as parameters are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose, pi, sqrt
from typing import cast

import numpy as np
import torch

from models.graph import Node
from models.onnx_import.builder import Builder
from models.onnx_import.call import Call
from models.onnx_import.values import Activation
from models.operators import (
    Add,
    Clip,
    Erf,
    Gelu,
    HardSwish,
    LeakyRelu,
    Mish,
    Operator,
    Power,
    Scale,
    Sigmoid,
    Silu,
    Softplus,
    Softsign,
    Tanh,
    TanhGelu,
)
from models.parameters import ParameterRef

__all__ = ["Affine", "affine_of", "gated", "readings", "scaled_curve"]


@dataclass(frozen=True)
class Affine:
    """factor · node + offset, with plain numbers.

    Attributes:
        node: Name of the node.
        factor, offset: The numbers.
        used: Names of the tensors that they came from.
    """

    node: str
    factor: float
    offset: float
    used: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Match:
    """A gate g(x) such that x · g(x) = outside · f(inside · x)."""

    operator: Operator
    inside: float
    outside: float
    used: frozenset[str] = frozenset()


def gated(call: Call, first: Activation, second: Activation) -> Activation | None:
    """Return the product of two activations where it is one function of one value, else None."""
    for x, gate in ((first, second), (second, first)):
        for scaled in readings(call.builder, x.node):
            if scaled.offset != 0.0:
                continue
            match = _gate_on(call.builder, gate.node, scaled.node)
            if match is not None and x.shape == gate.shape:
                # What the import used the numbers of must not be trained.
                call.builder.frozen |= scaled.used | match.used
                source = Activation(scaled.node, x.shape, x.dtype)
                outside = match.outside * scaled.factor
                return scaled_curve(call, source, match.operator, match.inside, outside)
    return None


def scaled_curve(
    call: Call, x: Activation, operator: Operator, inside: float, outside: float
) -> Activation:
    """Compute outside · f(inside · x), without factors that parameters could not tell from 1."""
    half_unit = 0.5 * float(np.finfo(np.float64 if x.dtype == np.float64 else np.float32).eps)
    if not isclose(inside, 1.0, rel_tol=half_unit):
        x = call.scale(x, call.constant(inside), None)
    y = call.emit(operator, x)
    if isclose(outside, 1.0, rel_tol=half_unit):
        return y
    return call.scale(y, call.constant(outside), None)


def readings(builder: Builder, name: str) -> list[Affine]:
    """Return a node as a function of itself, of what it scales, and so on."""
    found = [Affine(name, 1.0, 0.0)]
    while True:
        last = found[-1]
        node = builder.node(last.node)
        if not isinstance(node.operator, Scale):
            return found
        factor = _number(builder, node.operator.factor, 1.0)
        offset = _number(builder, node.operator.offset, 0.0)
        if factor is None or offset is None:
            return found
        used = frozenset(reference.name for reference in node.operator.references())
        found.append(
            Affine(
                node.inputs[0],
                last.factor * factor,
                last.factor * offset + last.offset,
                last.used | used,
            )
        )


def _number(builder: Builder, reference: ParameterRef | None, default: float) -> float | None:
    """Return a parameter that is one number; None where it is several."""
    if reference is None:
        return default
    stored = builder.stored[reference.name]
    if stored.size != 1:
        return None
    tensor = torch.from_numpy(stored.astype("float64").copy())
    return float(reference.resolve({reference.name: tensor}).reshape(()))


def affine_of(builder: Builder, name: str, base: str) -> Affine | None:
    """Return a node as a scaled `base`, or None where it is not."""
    return next((entry for entry in readings(builder, name) if entry.node == base), None)


def _gate_on(builder: Builder, name: str, base: str) -> _Match | None:
    """Return what a gate makes of its product with `base`."""
    for outer in readings(builder, name):
        node = builder.node(outer.node)
        recognise = _GATES.get(type(node.operator))
        match = None if recognise is None else recognise(builder, node, outer, base)
        if match is not None:
            return _Match(match.operator, match.inside, match.outside, match.used | outer.used)
    return None


def _sigmoid(builder: Builder, node: Node, outer: Affine, base: str) -> _Match | None:
    """Read x · sigmoid(k·x) = Silu(k·x) / k."""
    inner = affine_of(builder, node.inputs[0], base)
    if inner is None or inner.offset or not inner.factor or outer.offset:
        return None
    return _Match(Silu(), inner.factor, outer.factor / inner.factor, inner.used)


def _erf(builder: Builder, node: Node, outer: Affine, base: str) -> _Match | None:
    """Read x · (1 + erf(k·x)) = 2 · Gelu(√2·k·x) / (√2·k)."""
    inner = affine_of(builder, node.inputs[0], base)
    if inner is None or inner.offset or not inner.factor or outer.offset != outer.factor:
        return None
    inside = inner.factor * sqrt(2)
    return _Match(Gelu(), inside, 2 * outer.factor / inside, inner.used)


def _tanh(builder: Builder, node: Node, outer: Affine, base: str) -> _Match | None:
    """Read x · tanh(ln(1 + eˣ)), which is Mish, or x · (1 + tanh(a·x + b·x³)), a form of Gelu."""
    source = builder.node(node.inputs[0])
    if outer.offset == 0.0 and isinstance(source.operator, Softplus):
        inner = affine_of(builder, source.inputs[0], base)
        plain = inner is not None and (inner.factor, inner.offset) == (1.0, 0.0)
        return _Match(Mish(), 1.0, outer.factor) if plain else None
    if outer.offset != outer.factor:
        return None
    found = _odd_cubic(builder, source.name, base)
    if found is None:
        return None
    linear, cubic, used = found
    inside = linear / sqrt(2 / pi)
    # inside · x = t, so that b·x³ = b / inside³ · t³
    ratio = cubic / inside**3 / sqrt(2 / pi)
    if inside <= 0 or not isclose(ratio, 0.044715, rel_tol=1e-6):
        return None
    return _Match(TanhGelu(ratio), inside, 2 * outer.factor / inside, used)


def _odd_cubic(
    builder: Builder, name: str, base: str
) -> tuple[float, float, frozenset[str]] | None:
    """Return the coefficients of a·x + b·x³, and the tensors they came from."""
    outer = readings(builder, name)[-1]
    node = builder.node(outer.node)
    if outer.offset or not isinstance(node.operator, Add) or len(node.inputs) != 2:
        return None
    linear, cubic, used = 0.0, 0.0, outer.used
    for coefficient, source in zip(node.operator.coefficients, node.inputs, strict=True):
        factor = outer.factor * coefficient
        plain = affine_of(builder, source, base)
        cube = _cube(builder, source, base)
        term = plain or cube
        if term is None or term.offset:
            return None
        used |= term.used
        linear += factor * term.factor if plain else 0.0
        cubic += 0.0 if plain else factor * term.factor
    return linear, cubic, used


def _cube(builder: Builder, name: str, base: str) -> Affine | None:
    """Return a node as a scaled cube of `base`, or None."""
    for outer in readings(builder, name):
        node = builder.node(outer.node)
        if node.operator == Power(3.0) and node.inputs[0] == base:
            return outer
    return None


def _clip(builder: Builder, node: Node, outer: Affine, base: str) -> _Match | None:
    """Read x · min(max(k·x + h/2, 0), h) = h · HardSwish(6k/h·x) / (6k/h)."""
    clip = cast("Clip", node.operator)
    inner = affine_of(builder, node.inputs[0], base)
    if inner is None or outer.offset or clip.lower != 0.0 or not 0 < clip.upper < float("inf"):
        return None
    if inner.offset != clip.upper / 2 or not inner.factor > 0:
        return None
    inside = 6 * inner.factor / clip.upper
    return _Match(HardSwish(), inside, outer.factor * clip.upper / inside, inner.used)


def _reciprocal(builder: Builder, node: Node, outer: Affine, base: str) -> _Match | None:
    """Read x / (q + r·|x|) = Softsign(r/q·x) / r."""
    if node.operator != Power(-1.0) or outer.offset:
        return None
    for inner in readings(builder, node.inputs[0]):
        source = builder.node(inner.node)
        if source.operator == LeakyRelu(-1.0) and source.inputs == (base,):
            if not (inner.factor > 0 and inner.offset > 0):
                return None
            inside = inner.factor / inner.offset
            return _Match(Softsign(), inside, outer.factor / inner.factor, inner.used)
    return None


_GATES: Mapping[type[Operator], Callable[[Builder, Node, Affine, str], _Match | None]] = {
    Clip: _clip,
    Erf: _erf,
    Power: _reciprocal,
    Sigmoid: _sigmoid,
    Tanh: _tanh,
}
