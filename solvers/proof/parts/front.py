"""What a proof may put in front of a network: a normalisation of inputs."""

from __future__ import annotations

import numpy as np

from solvers.proof.network import NORMALIZATION, CheckedNetwork, Part
from solvers.proof.onnx_file import Node
from solvers.proof.parts.selections import scaled

__all__ = ["FRONT"]


def _normalization(network: CheckedNetwork, node: Node) -> None:
    """(x − mean) / std of the input; channels are axis −3, or else the last, of their size."""
    mean, std = (
        np.asarray(node.take(name), np.float32).astype(np.float64) for name in ("mean", "std")
    )
    (source, shape), count = network.vector(node), len(mean)
    node.require(len(std) == count > 0, "mean and std differ in length")
    node.require(np.isfinite(mean).all() and np.isfinite(std).all(), "numbers are not finite")
    node.require((std > 0).all(), "a standard deviation is not positive")
    if count > 1:
        axes = [a for a in (-3, -1) if len(shape) >= -a and shape[a] == count]
        node.require(axes, f"{count} means do not fit the input's shape {shape}")
        spread = [count if a == len(shape) + axes[0] else 1 for a in range(len(shape))]
        mean, std = mean.reshape(spread), std.reshape(spread)
    bias = np.broadcast_to(-mean / std, shape)
    term = scaled((source, shape), shape, 1 / std)
    network.affine(node, shape, [term], bias, inexact=np.abs(bias))


FRONT = Part("a normalisation of inputs", {NORMALIZATION: _normalization})
