"""The table of rules: what can be bounded, on one screen.

A new operator needs one entry here; a test holds every entry to soundness by sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models import operators
from models.operators import Operator
from solvers.bounds.rules.affine import (
    AddRule,
    BatchNormalizationRule,
    LinearRule,
    ScaleRule,
)
from solvers.bounds.rules.base import AffineRule, NonlinearRule, Rule, SlopeChoice, Slopes
from solvers.bounds.rules.bilinear import MatrixProductRule, MultiplyRule
from solvers.bounds.rules.convolution import ConvolutionRule, ConvolutionTransposeRule
from solvers.bounds.rules.elementwise import (
    atan_rule,
    elu_rule,
    erf_rule,
    exp_rule,
    gelu_rule,
    hard_swish_rule,
    log_rule,
    mish_rule,
    power_rule,
    sigmoid_rule,
    silu_rule,
    softplus_rule,
    softsign_rule,
    tanh_gelu_rule,
    tanh_rule,
)
from solvers.bounds.rules.piecewise import ClipRule, LeakyReluRule, PReluRule, ReluRule
from solvers.bounds.rules.pooling import MaxPoolRule
from solvers.bounds.rules.softmax import SoftmaxRule
from solvers.bounds.rules.steps import ceil_rule, floor_rule, positive_rule, round_rule, sign_rule
from solvers.bounds.rules.structural import (
    AveragePoolRule,
    ConcatRule,
    ConstantRule,
    ExpandRule,
    PadRule,
    ReduceSumRule,
    ReshapeRule,
    TakeRule,
    TransposeRule,
)
from solvers.bounds.rules.waves import cos_rule, sin_rule
from solvers.errors import UnsupportedMethodError

__all__ = ["RULES", "AffineRule", "NonlinearRule", "Rule", "SlopeChoice", "Slopes", "rule_for"]

RULES: Mapping[type[Operator], Rule[Any]] = {
    # affine
    operators.Linear: LinearRule(),
    operators.Convolution: ConvolutionRule(),
    operators.ConvolutionTranspose: ConvolutionTransposeRule(),
    operators.BatchNormalization: BatchNormalizationRule(),
    operators.Scale: ScaleRule(),
    operators.Add: AddRule(),
    # structural
    operators.Constant: ConstantRule(),
    operators.Reshape: ReshapeRule(),
    operators.Transpose: TransposeRule(),
    operators.Take: TakeRule(),
    operators.Pad: PadRule(),
    operators.Concat: ConcatRule(),
    operators.Expand: ExpandRule(),
    operators.ReduceSum: ReduceSumRule(),
    operators.AveragePool: AveragePoolRule(),
    # nonlinear
    operators.Relu: ReluRule(),
    operators.LeakyRelu: LeakyReluRule(),
    operators.PRelu: PReluRule(),
    operators.Clip: ClipRule(),
    operators.MaxPool: MaxPoolRule(),
    # of one value: S-shaped, gated, convex, with a domain, periodic, with jumps
    operators.Sigmoid: sigmoid_rule,
    operators.Tanh: tanh_rule,
    operators.Erf: erf_rule,
    operators.Softsign: softsign_rule,
    operators.Atan: atan_rule,
    operators.Gelu: gelu_rule,
    operators.TanhGelu: tanh_gelu_rule,
    operators.Silu: silu_rule,
    operators.Mish: mish_rule,
    operators.HardSwish: hard_swish_rule,
    operators.Elu: elu_rule,
    operators.Exp: exp_rule,
    operators.Softplus: softplus_rule,
    operators.Log: log_rule,
    operators.Power: power_rule,
    operators.Sin: sin_rule,
    operators.Cos: cos_rule,
    operators.Sign: sign_rule,
    operators.Positive: positive_rule,
    operators.Floor: floor_rule,
    operators.Ceil: ceil_rule,
    operators.Round: round_rule,
    # nonlinear in several values at once
    operators.Multiply: MultiplyRule(),
    operators.MatrixProduct: MatrixProductRule(),
    operators.Softmax: SoftmaxRule(),
}


def rule_for(operator: Operator) -> Rule[Any]:
    """Return the rule of an operator.

    Raises:
        UnsupportedMethodError: No rule is registered for it.
    """
    try:
        return RULES[type(operator)]
    except KeyError:
        raise UnsupportedMethodError(
            f"no bound rule is registered for operator {type(operator).__name__}; "
            "add one to the table in solvers/bounds/rules"
        ) from None
