"""Names of the training methods, and what each is certified by while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from solvers.methods import Method

__all__ = ["CERTIFIED_BY", "FeasibilityForm", "TrainingMethod"]


class TrainingMethod(StrEnum):
    """A loss to train by; each takes the tightness regularizers on top."""

    STANDARD = "standard"
    """Cross-entropy of the inputs themselves."""
    PGD = "pgd"
    """Of adversarial inputs (Madry et al. 2018)."""
    IBP = "ibp"
    """Of worst-case logits by interval bounds (Gowal et al. 2018)."""
    CROWN_IBP = "crown-ibp"
    """By one backward pass over interval bounds, all classes fused (Zhang et al. 2020)."""
    FAST_LIN = "fast-lin"
    """By parallel slopes on every layer (Wong and Kolter 2018)."""
    SABR = "sabr"
    """By interval bounds of small boxes around adversarial inputs (Müller et al. 2023)."""
    MTL_IBP = "mtl-ibp"
    """A mixture of the losses of adversarial inputs and of interval bounds (De Palma et al.)."""


class FeasibilityForm(StrEnum):
    """How the feasibility regularizer measures the relaxed optimum."""

    DISTANCE = "distance"
    """Its distance from the network's own graph, over unstable neurons."""
    OBJECTIVE = "objective"
    """The network's margin at its input, minus the bound."""


CERTIFIED_BY: Mapping[TrainingMethod, Method] = {
    TrainingMethod.STANDARD: Method.CROWN_IBP,
    TrainingMethod.PGD: Method.CROWN_IBP,
    TrainingMethod.IBP: Method.IBP,
    TrainingMethod.CROWN_IBP: Method.CROWN_IBP,
    TrainingMethod.FAST_LIN: Method.FAST_LIN,
    TrainingMethod.SABR: Method.CROWN_IBP,
    TrainingMethod.MTL_IBP: Method.CROWN_IBP,
}
"""How certified accuracy is measured after each epoch, unless an option says otherwise."""
