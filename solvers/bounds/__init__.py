"""Bounds by propagation: interval, linear, and linear with optimised slopes."""

from solvers.bounds.backward import Scene
from solvers.bounds.balls import Balls, regions_to_balls
from solvers.bounds.combine import FusedLoss, best_of, fused_loss, fused_loss_bound
from solvers.bounds.interval import Interval, boxes_to_interval
from solvers.bounds.margins import MarginBounds, Margins, bound_margins, rounding_allowance
from solvers.bounds.memory import MemoryBudget
from solvers.bounds.observed import ObservedPass, observe, relaxed_minimum
from solvers.bounds.options import BoundOptions
from solvers.bounds.perturbation import ParameterRadii
from solvers.bounds.unbounded import UnboundedNode, unbounded_nodes

__all__ = [
    "Balls",
    "BoundOptions",
    "FusedLoss",
    "Interval",
    "MarginBounds",
    "Margins",
    "MemoryBudget",
    "ObservedPass",
    "ParameterRadii",
    "Scene",
    "UnboundedNode",
    "best_of",
    "bound_margins",
    "boxes_to_interval",
    "fused_loss",
    "fused_loss_bound",
    "observe",
    "regions_to_balls",
    "relaxed_minimum",
    "rounding_allowance",
    "unbounded_nodes",
]
