"""Specifications of networks that end in Softmax, whose import stops at the logits.

Import drops a final Softmax because it keeps the order of the outputs. A condition that compares
two outputs means the same before and after it; a condition on their values, such as "the first
probability is at most 0.5", does not, and must not be decided on logits.
"""

from __future__ import annotations

import numpy as np

from models.errors import SpecificationError
from models.network import Network
from solvers.problem import Clause, Problem

__all__ = ["require_same_meaning"]


def require_same_meaning(network: Network, problem: Problem) -> None:
    """Refuse a problem that means something else on logits than on the outputs of the file.

    Args:
        network: Imported from ONNX, or built in memory, which has nothing dropped.
        problem: About its outputs.

    Raises:
        SpecificationError: A Softmax, LogSoftmax or ArgMax was dropped and a clause depends on it.
    """
    dropped = network.dropped
    if dropped is None:
        return
    clauses = [clause for case in problem.cases for clause in case.specification.clauses]
    if not all(_survives(clause, dropped) for clause in clauses):
        raise SpecificationError(
            f"the network ends in {dropped}, which import drops, and the specification speaks of "
            "the values of outputs behind it; only comparisons of two outputs, such as "
            "Y_0 <= Y_1, can be decided. Remove the layer and state the condition on logits"
        )


def _survives(clause: Clause, dropped: str) -> bool:
    """Return whether a clause holds for logits exactly where it holds behind the operator.

    LogSoftmax subtracts one number from all logits: rows whose coefficients sum to 0 keep their
    value. Softmax keeps only the order: rows must compare two outputs and nothing else. ArgMax
    gives the number of a class, of which no row over logits can speak.
    """
    if dropped == "ArgMax":
        return False
    balanced = clause.matrix.sum(axis=1) == 0.0
    if dropped == "LogSoftmax":
        return bool(balanced.all())
    pairs = np.count_nonzero(clause.matrix, axis=1) == 2
    return bool(np.all(balanced & pairs & (clause.offset == 0.0)))
