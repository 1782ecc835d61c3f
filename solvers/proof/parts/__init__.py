"""What proofs may rely on beside the core: rules of operators, splits, balls; and float32.

A part is added here by one line; the core alone refuses what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from solvers.proof.asked import AskedCase, require_covered
from solvers.proof.bounds import RELUS
from solvers.proof.checker import check_proof as check_by_core
from solvers.proof.container import ProofError
from solvers.proof.network import CheckedNetwork, Part
from solvers.proof.parts.balls import BALLS
from solvers.proof.parts.bilinear import BILINEAR
from solvers.proof.parts.curves import CURVES
from solvers.proof.parts.final import FINAL
from solvers.proof.parts.float32 import Float32Watch
from solvers.proof.parts.front import FRONT
from solvers.proof.parts.jumps import JUMPS
from solvers.proof.parts.linear import LINEAR
from solvers.proof.parts.maxima import MAXIMA
from solvers.proof.parts.pieces import PIECES
from solvers.proof.parts.products import PRODUCTS
from solvers.proof.parts.selections import SELECTIONS
from solvers.proof.parts.semidefinite import SEMIDEFINITE
from solvers.proof.parts.shapes import SHAPES
from solvers.proof.parts.smooth import SMOOTH
from solvers.proof.parts.softmax import SOFTMAX
from solvers.proof.parts.splits import SPLITS
from solvers.proof.parts.sums import SUMS
from solvers.proof.parts.windows import WINDOWS
from solvers.proof.stated import CheckResult

__all__ = ["CORE", "PARTS", "READERS", "check_proof", "core_words", "read_network"]

CORE = ("checker", "bounds", "network")
"""What has to be right for every proof to be right."""
READERS = ("container", "onnx_file")
"""What reads files for it, or refuses them."""

_TABLE: Mapping[str, Part] = {
    "selections": SELECTIONS,
    "products": PRODUCTS,
    "sums": SUMS,
    "linear": LINEAR,
    "front": FRONT,
    "pieces": PIECES,
    "curves": CURVES,
    "jumps": JUMPS,
    "maxima": MAXIMA,
    "final": FINAL,
    "balls": BALLS,
    "splits": SPLITS,
    "bilinear": BILINEAR,
    "smooth": SMOOTH,
    "softmax": SOFTMAX,
    "shapes": SHAPES,
    "semidefinite": SEMIDEFINITE,
    "windows": WINDOWS,
}
"""By the file that a part stands in; the last one that knows an operator counts."""
PARTS: Sequence[Part] = tuple(_TABLE.values())


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
    result = check_by_core(path, network, (*PARTS, watch.part))
    if result.proof is None:
        return result
    try:
        if specification is not None:
            require_covered(result.proof, specification, normalization)
    except ProofError as error:
        return CheckResult(False, str(error))
    return replace(result, deployment=watch.deployment)


def core_words(parts: Sequence[str] = (), *, asked: bool = False) -> str:
    """Return in words what an accepted proof rests on, in lines of code.

    Args:
        parts: Names of those that it relies on.
        asked: Whether it was compared with a specification.
    """
    folder = Path(__file__).parents[1]
    sizes = {
        "of the core": [folder / f"{name}.py" for name in CORE],
        "that read files": [folder / f"{name}.py" for name in READERS],
        "that compare it with what was asked": [folder / "asked.py"] if asked else [],
        f"for {', '.join(parts)}": _files(parts),
    }
    counts = {words: sum(map(_lines, files)) for words, files in sizes.items() if files}
    each = "; ".join(f"{count} {words}" for words, count in counts.items())
    return f"{sum(counts.values())} lines in all: {each}"


def _files(parts: Iterable[str]) -> set[Path]:
    """Return the files of parts, and of those that these are made of."""
    folder, found = Path(__file__).parent, set[Path]()
    waiting = [name for name, part in _TABLE.items() if part.name in parts]
    while waiting:
        path = folder / f"{waiting.pop()}.py"
        if path not in found:
            found.add(path)
            waiting += re.findall(r"^from solvers\.proof\.parts\.(\w+)", path.read_text(), re.M)
    return found


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def read_network(
    content: bytes, normalization: tuple[Sequence[float], Sequence[float]] | None = None
) -> CheckedNetwork:
    """Return a network as proofs are checked for it, with the operators of all parts.

    Raises:
        UnsupportedProofError: Something in it cannot be checked; names node and operator.
    """
    return CheckedNetwork(content, (RELUS, *PARTS), normalization)
