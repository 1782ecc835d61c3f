"""What a proof may put in front of a network: a normalisation of inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solvers.proof.network import NORMALIZATION, Array, CheckedNetwork, Part, Shape
from solvers.proof.onnx_file import Node, UnsupportedProofError
from solvers.proof.parts.selections import scaled

__all__ = ["FRONT", "per_channel"]


def per_channel(mean: Sequence[float], std: Sequence[float], shape: Shape) -> tuple[Array, Array]:
    """Return mean and std in float32, shaped so that they spread over one input of a shape.

    Several numbers belong to axis −3, or else to the last one: the first of these of their size.

    Raises:
        UnsupportedProofError: They do not fit the shape, or are no numbers to normalise by.
    """
    means, stds = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    _require(len(means) == len(stds) > 0, "mean and std differ in length")
    _require(np.isfinite(means).all() and np.isfinite(stds).all(), "numbers are not finite")
    _require((stds > 0).all(), "a standard deviation is not positive")
    axes = [a for a in (-3, -1) if len(shape) >= -a and shape[a] == len(means)]
    spread = [1] * len(shape)
    if len(means) > 1:
        _require(axes, f"{len(means)} means do not fit the input's shape {shape}")
        spread[axes[0]] = len(means)
    return means.reshape(spread), stds.reshape(spread)


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise UnsupportedProofError(f"the normalisation cannot be applied: {reason}")


def _normalization(network: CheckedNetwork, node: Node) -> None:
    """(x − mean) / std of the input."""
    source, shape = network.vector(node)
    parts = per_channel(node.take("mean"), node.take("std"), shape)
    mean, std = (part.astype(np.float64) for part in parts)
    bias = np.broadcast_to(-mean / std, shape)
    term = scaled((source, shape), shape, 1 / std)
    network.affine(node, shape, [term], bias, inexact=np.abs(bias))


FRONT = Part("a normalisation of inputs", {NORMALIZATION: _normalization})
