"""Functions of one value: those with an operator of their own, and those made of simpler ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.gates import scaled_curve
from models.onnx_import.products import power
from models.onnx_import.values import Activation, Known
from models.operators import Clip, Elu, Exp, Gelu, LeakyRelu, Operator, Relu, Silu, TanhGelu

__all__ = [
    "absolute",
    "celu",
    "elementwise",
    "elu",
    "gelu",
    "hard_sigmoid",
    "pow_",
    "reciprocal",
    "selu",
    "square_root",
    "swish",
]


def elementwise(operator: Operator) -> Callable[[Call], Sequence[Activation]]:
    """Return a handler that emits an operator without attributes."""

    def handler(call: Call) -> Sequence[Activation]:
        return [call.emit(operator, call.activation(0))]

    return handler


def gelu(call: Call) -> list[Activation]:
    """Import Gelu, exact or approximated by tanh."""
    call.require("approximate", ("none", "tanh"))
    exact = call.attributes.get("approximate", "none") == "none"
    return [call.emit(Gelu() if exact else TanhGelu(), call.activation(0))]


def swish(call: Call) -> list[Activation]:
    """Import Swish: x · sigmoid(alpha · x)."""
    alpha = float(call.attributes.get("alpha", 1.0))
    if alpha == 0.0:
        return [call.scale(call.activation(0), call.constant(0.5), None)]
    return [scaled_curve(call, call.activation(0), Silu(), alpha, 1.0 / alpha)]


def elu(call: Call) -> list[Activation]:
    """Import Elu."""
    return [call.emit(_elu(call, float(call.attributes.get("alpha", 1.0))), call.activation(0))]


def selu(call: Call) -> list[Activation]:
    """Import Selu, a multiple of Elu."""
    # ONNX's defaults, which are float32 numbers
    alpha = float(call.attributes.get("alpha", 1.67326319217681884765625))
    gamma = float(call.attributes.get("gamma", 1.05070102214813232421875))
    return [scaled_curve(call, call.activation(0), _elu(call, alpha), 1.0, gamma)]


def celu(call: Call) -> list[Activation]:
    """Import Celu: alpha · Elu(x / alpha)."""
    alpha = float(call.attributes.get("alpha", 1.0))
    if not alpha > 0:
        raise call.unsupported(f"attribute alpha is {alpha}, supported: above 0")
    return [scaled_curve(call, call.activation(0), Elu(), 1.0 / alpha, alpha)]


def _elu(call: Call, alpha: float) -> Operator:
    if not alpha >= 0:
        raise call.unsupported(f"attribute alpha is {alpha}, supported: 0 and above")
    return Elu(alpha) if alpha > 0 else Relu()


def hard_sigmoid(call: Call) -> list[Activation]:
    """Import HardSigmoid: alpha · x + beta, kept between 0 and 1."""
    alpha = float(call.attributes.get("alpha", 0.2))
    beta = float(call.attributes.get("beta", 0.5))
    ramp = call.scale(call.activation(0), call.constant(alpha), call.constant(beta))
    return [call.emit(Clip(0.0, 1.0), ramp)]


def absolute(call: Call) -> list[Activation]:
    """Import Abs: x where positive, −x where negative."""
    return [call.emit(LeakyRelu(-1.0), call.activation(0))]


def square_root(call: Call) -> list[Activation]:
    """Import Sqrt."""
    return [power(call, call.activation(0), 0.5)]


def reciprocal(call: Call) -> list[Activation]:
    """Import Reciprocal."""
    return [power(call, call.activation(0), -1.0)]


def pow_(call: Call) -> list[Activation]:
    """Import Pow with a constant exponent, or with a constant base above 0."""
    base = call.input(0)
    if isinstance(base, Known):
        return [_exponential(call, base)]
    x, constant = call.activation(0), call.known(1)
    exponents = np.unique(constant.array.astype(np.float64))
    if len(exponents) != 1:
        raise call.unsupported(f"its {constant.array.size} exponents are not all the same number")
    call.builder.freeze(constant)
    exponent = float(exponents[0])
    if not isfinite(exponent):
        raise call.malformed(f"the exponent is {exponent}")
    shape = tuple(np.broadcast_shapes(x.shape, constant.shape))
    call.builder.check_size(call.name, shape)
    x = call.expand(x, shape)
    if exponent == 0.0:
        return [call.scale(x, call.constant(0.0), call.constant(1.0))]
    return [x if exponent == 1.0 else power(call, x, exponent)]


def _exponential(call: Call, base: Known) -> Activation:
    """Compute base to the power of x as e to the power of x · ln(base)."""
    x = call.activation(1)
    if not np.all(base.array > 0):
        raise call.unsupported("its base is a constant that is not above 0 everywhere")
    call.builder.freeze(base)
    shape = tuple(np.broadcast_shapes(x.shape, base.shape))
    call.builder.check_size(call.name, shape)
    logarithm = call.constant(np.log(base.array.astype(np.float64)))
    return call.emit(Exp(), call.scale(call.expand(x, shape), logarithm, None))
