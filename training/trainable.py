"""Which parameters of a network are trained."""

from __future__ import annotations

from models.network import Network
from models.operators import BatchNormalization
from solvers.bounds.ibp import mixing_depth
from solvers.bounds.rules import rule_for
from solvers.errors import UnsupportedMethodError
from training.batch_statistics import statistic_names
from training.errors import UntrainableError

__all__ = ["trainable_names"]


def trainable_names(network: Network) -> tuple[str, ...]:
    """Return the names of the parameters to train, sorted.

    These are tensors of the ONNX file that some operator reads, except for running statistics and
    for what stands in front of the first layer, such as the normalisation of the input.

    Raises:
        UntrainableError: There are none, or an operator cannot be bounded.
    """
    frozen = statistic_names(network)
    depth = mixing_depth(network.graph)
    names: set[str] = set()
    for node in network.graph.nodes[1:]:
        try:
            rule = rule_for(node.operator)
        except UnsupportedMethodError as error:
            raise UntrainableError(f"node {node.name!r} cannot be trained: {error}") from error
        in_front = depth[node.name] == 0 and not rule.mixes
        if in_front and not isinstance(node.operator, BatchNormalization):
            continue
        names.update(reference.name for reference in node.operator.references())
    names &= network.trainable
    chosen = sorted(name for name in names - frozen if network.parameters[name].is_floating_point())
    if not chosen:
        raise UntrainableError(
            f"the network {network.name!r} has no parameters to train: none of its weights is "
            "stored in the ONNX file as a tensor that a layer reads"
        )
    return tuple(chosen)
