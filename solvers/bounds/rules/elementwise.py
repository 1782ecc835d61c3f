"""Traits of the functions that networks apply elementwise: where each bends and turns.

Points without a closed form are zeros of the first or second derivative, to the last digit of a
float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from models.operators import (
    Atan,
    Elu,
    Erf,
    Exp,
    Gelu,
    HardSwish,
    Log,
    Mish,
    Operator,
    Power,
    Sigmoid,
    Silu,
    Softplus,
    Softsign,
    Tanh,
    TanhGelu,
)
from models.parameters import Parameters
from solvers.bounds.rules.curves import Curve, CurveRule, Domain

__all__ = [
    "atan_rule",
    "elu_rule",
    "erf_rule",
    "exp_rule",
    "gelu_rule",
    "hard_swish_rule",
    "log_rule",
    "mish_rule",
    "power_rule",
    "sigmoid_rule",
    "silu_rule",
    "softplus_rule",
    "softsign_rule",
    "tanh_gelu_rule",
    "tanh_rule",
]

_ALL = ((-inf, inf),)
_NEGATIVE, _POSITIVE = ((-inf, 0.0),), ((0.0, inf),)
_NO_PARAMETERS: Parameters = {}
Function = Callable[[Tensor], Tensor]


def _value_of(operator: Operator) -> Function:
    """Return the function that an operator computes, so that there is one definition of it."""
    return lambda x: operator.forward([x], _NO_PARAMETERS)


# --- S-shaped: convex left of 0, concave right of it --------------------------------------------


def _s_shaped(operator: Operator, derivative: Function) -> Curve:
    return Curve(_value_of(operator), derivative, convex=_NEGATIVE, concave=_POSITIVE)


def _sigmoid_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _tanh_slope(x: Tensor) -> Tensor:
    # Written with sigmoids: 1 − tanh² would be all rounding where tanh is almost 1.
    return 4 * _sigmoid_slope(2 * x)


def _erf_slope(x: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * torch.exp(-x.square())


_SIGMOID = _s_shaped(Sigmoid(), _sigmoid_slope)
_TANH = _s_shaped(Tanh(), _tanh_slope)
_ERF = _s_shaped(Erf(), _erf_slope)
_SOFTSIGN = _s_shaped(Softsign(), lambda x: (1 + x.abs()).square().reciprocal())
_ATAN = _s_shaped(Atan(), lambda x: (1 + x.square()).reciprocal())

sigmoid_rule = CurveRule[Sigmoid](lambda _: _SIGMOID)
tanh_rule = CurveRule[Tanh](lambda _: _TANH)
erf_rule = CurveRule[Erf](lambda _: _ERF)
softsign_rule = CurveRule[Softsign](lambda _: _SOFTSIGN)
atan_rule = CurveRule[Atan](lambda _: _ATAN)


# --- gated: x times a gate that opens from 0 to 1 -----------------------------------------------
# Concave, convex, concave. Slopes are below 0 on the left piece and above 1 on the right one;
# chords from one to the other rise, and by less than 1.


def _gated(
    operator: Operator, derivative: Function, bends: tuple[float, float], turn: float
) -> Curve:
    left, right = bends
    return Curve(
        _value_of(operator),
        derivative,
        concave=((-inf, left), (right, inf)),
        convex=(bends,),
        turns=(turn,),
    )


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return 0.5 * torch.erfc(-x / math.sqrt(2)) + x * density


def _silu_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) + x * _sigmoid_slope(x)


def _mish_slope(x: Tensor) -> Tensor:
    softplus = torch.logaddexp(x, torch.zeros_like(x))
    return torch.tanh(softplus) + x * _tanh_slope(softplus) * torch.sigmoid(x)


def _tanh_gelu_slope(x: Tensor, cubic: float) -> Tensor:
    scale = math.sqrt(2 / math.pi)
    inner = scale * (x + cubic * x * x * x)
    turning = scale * (1 + 3 * cubic * x * x)
    return torch.sigmoid(2 * inner) + 0.5 * x * _tanh_slope(inner) * turning


def _tanh_gelu(operator: TanhGelu) -> Curve:
    """Describe the approximation; roundings of the constant move bends and turn by as little."""
    shift = operator.cubic / 0.044715 - 1
    bend, turn = 1.4185040087908284 - 0.09454 * shift, -0.7524614220710163 + 0.04067 * shift
    return _gated(operator, lambda x: _tanh_gelu_slope(x, operator.cubic), (-bend, bend), turn)


_ROOT = math.sqrt(2)
_GELU = _gated(Gelu(), _gelu_slope, (-_ROOT, _ROOT), -0.7517915246935645)
_SILU = _gated(Silu(), _silu_slope, (-2.3993572805154677, 2.3993572805154677), -1.2784645427610738)
_MISH = _gated(Mish(), _mish_slope, (-2.2563763963607931, 1.4905711794854285), -1.1924312145154952)
_HARD_SWISH = Curve(
    _value_of(HardSwish()),
    lambda x: torch.where(x.abs() <= 3, x / 3 + 0.5, (x > 0).to(x.dtype)),
    convex=((-3.0, 3.0),),
    corners_above=(-3.0, 3.0),
    turns=(-1.5,),
    linear=((-inf, -3.0), (3.0, inf)),
)

gelu_rule = CurveRule[Gelu](lambda _: _GELU)
tanh_gelu_rule = CurveRule[TanhGelu](_tanh_gelu)
silu_rule = CurveRule[Silu](lambda _: _SILU)
mish_rule = CurveRule[Mish](lambda _: _MISH)
hard_swish_rule = CurveRule[HardSwish](lambda _: _HARD_SWISH)


# --- convex -------------------------------------------------------------------------------------


def _elu(operator: Elu) -> Curve:
    alpha = operator.alpha
    # From alpha = 1 on the slope falls at 0, from alpha to 1.
    falls = alpha > 1
    return Curve(
        _value_of(operator),
        lambda x: torch.where(x > 0, torch.ones_like(x), alpha * torch.exp(x.clamp(max=0))),
        convex=_NEGATIVE if falls else _ALL,
        corners_above=(0.0,) if falls else (),
        linear=((0.0, inf),),
    )


# A lower line that touches within 1 of the lower end stays above 0, which a division by a sum of
# exponentials needs.
_EXP = Curve(_value_of(Exp()), torch.exp, convex=_ALL, reach=0.99)
_SOFTPLUS = Curve(_value_of(Softplus()), torch.sigmoid, convex=_ALL)

elu_rule = CurveRule[Elu](_elu)
exp_rule = CurveRule[Exp](lambda _: _EXP)
softplus_rule = CurveRule[Softplus](lambda _: _SOFTPLUS)


# --- with a domain ------------------------------------------------------------------------------

_ABOVE_ZERO = Domain(lambda lower, _: lower > 0, "reaches 0")
_FROM_ZERO = Domain(lambda lower, _: lower >= 0, "reaches below 0")
_NOT_ZERO = Domain(lambda lower, upper: (lower > 0) | (upper < 0), "contains 0")

_LOG = Curve(_value_of(Log()), torch.reciprocal, concave=_POSITIVE, domain=_ABOVE_ZERO)
log_rule = CurveRule[Log](lambda _: _LOG)


def _power(operator: Power) -> Curve:
    p = operator.exponent
    value, derivative = _value_of(operator), _power_slope(p)
    if not p.is_integer():
        domain = _FROM_ZERO if p > 0 else _ABOVE_ZERO
        if 0 < p < 1:
            return Curve(value, derivative, concave=_POSITIVE, domain=domain)
        return Curve(value, derivative, convex=_POSITIVE, domain=domain)
    holes = _NOT_ZERO if p < 0 else None
    if p % 2:
        return Curve(value, derivative, concave=_NEGATIVE, convex=_POSITIVE, domain=holes)
    turns = (0.0,) if p > 0 else ()
    return Curve(value, derivative, convex=_ALL, turns=turns, domain=holes)


def _power_slope(p: float) -> Function:
    return lambda x: p * x.pow(p - 1)


power_rule = CurveRule[Power](_power)
