"""Settings of the bounds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.errors import InvalidInputError
from solvers.bounds.memory import MemoryBudget

__all__ = ["BoundOptions"]


@dataclass(frozen=True)
class BoundOptions:
    """How much work the bounds may do.

    Attributes:
        iterations: Gradient steps of alpha-crown for the margins.
        intermediate_iterations: Gradient steps for the bounds of each layer before them.
        learning_rate: Of its optimiser (Adam).
        learning_rate_decay: Factor per step.
        optimise_intermediate: Whether alpha-crown optimises intermediate bounds too.
        share_slopes: Whether all margins of a region, and all values of a layer, have the same
            slopes: less memory, looser bounds.
        cuts_inside: Whether the methods with cuts tighten bounds inside the network for their own
            sake, for a search to begin with: not only where that may prove margins at once, harder,
            and for as long as layers gain by it.
        stop_when_positive: Whether alpha-crown stops once every margin is proved positive; the
            bounds are then right but not as tight as they could be.
        memory: Limit of coefficient arrays; None for what suits the device.
    """

    iterations: int = 20
    intermediate_iterations: int = 10
    learning_rate: float = 0.3
    learning_rate_decay: float = 0.97
    optimise_intermediate: bool = True
    share_slopes: bool = False
    cuts_inside: bool = False
    stop_when_positive: bool = False
    memory: MemoryBudget | None = None

    def memory_on(self, device: torch.device) -> MemoryBudget:
        """Return the limit that holds on a device."""
        return MemoryBudget.for_device(device) if self.memory is None else self.memory

    def __post_init__(self) -> None:
        if (
            min(self.iterations, self.intermediate_iterations) < 0
            or self.learning_rate <= 0
            or self.learning_rate_decay <= 0
        ):
            raise InvalidInputError("iterations must be 0 or more, learning rates above 0")
