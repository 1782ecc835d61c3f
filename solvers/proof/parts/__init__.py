"""What proofs may rely on beside the core: rules of operators, balls, and what is said of float32.

A part is added here by one line; the core alone refuses what it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from solvers.proof.checker import check_proof as check_by_core
from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.parts.balls import BALLS
from solvers.proof.parts.bilinear import BILINEAR
from solvers.proof.parts.curves import CURVES
from solvers.proof.parts.final import FINAL
from solvers.proof.parts.float32 import Float32Watch
from solvers.proof.parts.front import FRONT
from solvers.proof.parts.linear import LINEAR
from solvers.proof.parts.maxima import MAXIMA
from solvers.proof.parts.pieces import PIECES
from solvers.proof.parts.products import PRODUCTS
from solvers.proof.parts.selections import SELECTIONS
from solvers.proof.parts.shapes import SHAPES
from solvers.proof.parts.smooth import SMOOTH
from solvers.proof.parts.softmax import SOFTMAX
from solvers.proof.parts.sums import SUMS
from solvers.proof.stated import AskedCase, CheckResult

__all__ = ["CORE", "PARTS", "READERS", "check_proof", "core_words", "read_network"]

CORE = ("checker", "bounds", "network")
"""What has to be right for every proof to be right."""
READERS = ("container", "onnx_file")
"""What reads files for it, or refuses them."""

PARTS: Sequence[Part] = (
    SELECTIONS,
    PRODUCTS,
    SUMS,
    LINEAR,
    FRONT,
    PIECES,
    CURVES,
    MAXIMA,
    FINAL,
    BALLS,
    BILINEAR,
    SMOOTH,
    SOFTMAX,
    SHAPES,
)


def check_proof(
    path: Path,
    network: bytes,
    specification: Sequence[AskedCase] | None = None,
    *,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
) -> CheckResult:
    """Check a proof by the core with all parts, and say what is known of float32 inference.

    Args:
        path: Of the proof.
        network: Content of the ONNX file.
        specification: What must have been proved; None to accept whatever it is.
        normalization: Mean and standard deviation of what stands in front of the network in the
            specification, if anything does.

    Raises:
        OSError: The proof cannot be read.
    """
    # Freed at once: glibc then keeps memory that passes free, and does not ask for it again.
    np.empty(1 << 21)
    watch = Float32Watch()
    result = check_by_core(
        path, network, specification, normalization=normalization, parts=(*PARTS, watch.part)
    )
    return replace(result, deployment=watch.deployment if result.accepted else None)


def core_words(parts: Sequence[str]) -> str:
    """Return in words what an accepted proof rests on, given the parts that it relies on."""
    folder = Path(__file__).parents[1]
    core, readers = (
        sum(len((folder / f"{name}.py").read_text().splitlines()) for name in names)
        for names in (CORE, READERS)
    )
    lines = f"the core of {core} lines, and {readers} that read files"
    return f"{lines}, with {'; '.join(parts)}" if parts else lines


def read_network(
    content: bytes, normalization: tuple[Sequence[float], Sequence[float]] | None = None
) -> CheckedNetwork:
    """Return a network as proofs are checked for it, with the operators of all parts.

    Raises:
        UnsupportedProofError: Something in it cannot be checked; names node and operator.
    """
    return CheckedNetwork(content, PARTS, normalization)
