"""Which nodes are the reason that bounds are infinite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds.interval import Interval
from solvers.bounds.rules import NonlinearRule, rule_for

__all__ = ["UnboundedNode", "unbounded_nodes"]


@dataclass(frozen=True)
class UnboundedNode:
    """A node without finite bounds, all of whose inputs have them.

    Attributes:
        name: Of the node.
        operator: Name of its operator.
        cause: "reaches 0", say, where an input's interval leaves the operator's domain; None
            where numbers overflow.
        lower, upper: An interval of its input that is to blame.
        count: How many values have no finite bounds.
    """

    name: str
    operator: str
    cause: str | None
    lower: float
    upper: float
    count: int

    @property
    def reason(self) -> str:
        """One line for people."""
        where = f"node {self.name!r}: {self.operator} over [{self.lower:.4g}, {self.upper:.4g}]"
        if self.cause is None:
            return f"{where} has no finite bounds"
        return f"{where}, which {self.cause}"


def unbounded_nodes(
    network: Network, bounds: Mapping[str, Interval], example: int | None = None
) -> tuple[UnboundedNode, ...]:
    """Return where infinite bounds begin: a logarithm of an interval that reaches 0, for example.

    Args:
        network: What was bounded.
        bounds: Of every node, such as `MarginBounds.intermediate`.
        example: Which region of the batch; all of them if None.

    Returns:
        In topological order; empty where all bounds are finite.
    """
    part = slice(None) if example is None else slice(example, example + 1)
    there = {name: interval[part] for name, interval in bounds.items()}
    found = []
    for node in network.graph.nodes:
        inputs = [there[name] for name in node.inputs if name in there]
        if node.name not in there or len(inputs) != len(node.inputs):
            continue
        open_ended = ~_finite(there[node.name])
        if bool(open_ended.any()) and all(bool(_finite(x).all()) for x in inputs):
            found.append(_described(node, inputs, open_ended))
    return tuple(found)


def _described(node: Node, inputs: Sequence[Interval], open_ended: Tensor) -> UnboundedNode:
    kind, count = type(node.operator).__name__, int(open_ended.sum())
    if not inputs:
        return UnboundedNode(node.name, kind, None, float("nan"), float("nan"), count)
    rule = rule_for(node.operator)
    left = rule.outside(node.operator, inputs[0]) if isinstance(rule, NonlinearRule) else None
    cause = None
    # Of an operator with another shape than its input, any interval is as good as another.
    blamed = open_ended if open_ended.shape == inputs[0].lower.shape else None
    if left is not None and bool(left[0].any()):
        blamed, cause = left
    lower, upper = inputs[0].lower, inputs[0].upper
    lower, upper = (lower, upper) if blamed is None else (lower[blamed], upper[blamed])
    widest = int((upper - lower).argmax())
    ends = float(lower.reshape(-1)[widest]), float(upper.reshape(-1)[widest])
    return UnboundedNode(node.name, kind, cause, *ends, count)


def _finite(interval: Interval) -> Tensor:
    return interval.lower.isfinite() & interval.upper.isfinite()
