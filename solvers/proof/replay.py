"""Counterexamples once more: run by onnxruntime, and bounded in real arithmetic by the checker."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from solvers.proof.asked import AskedCase
from solvers.proof.bounds import Enclosure, Region
from solvers.proof.container import ProofError
from solvers.proof.parts import read_network
from solvers.proof.parts.front import per_channel

__all__ = ["MARKER", "CounterexampleError", "RealNumbers", "Replay", "replay"]

MARKER = "x.npy"
"""Member by which a file of a counterexample is known."""
_MEMBERS = ("x", "y", "runtime", "version")
_MOST_BYTES = 1 << 28

Array = NDArray[np.float64]
Normalization = tuple[Sequence[float], Sequence[float]]


class CounterexampleError(ProofError):
    """A file is no counterexample, or not one of this network; the message says what is wrong."""


class RealNumbers(StrEnum):
    """What the network of real numbers, without rounding, says of a counterexample."""

    CONFIRMS = "confirms"
    """It is one there too."""
    CONTRADICTS = "contradicts"
    """It is none there: it stands only within the rounding of float32."""
    OPEN = "open"
    """Too close to call, or the network has what the checker cannot read."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What came of running a counterexample again.

    Attributes:
        accepted: Whether it is one of what was asked.
        reason: Why not; None if accepted.
        output: Of onnxruntime, flat: float32, or float64 where the network computes in it.
        difference: From the outputs in the file, at most.
        case: Which case of the specification it falls in; None without a specification.
        margin: Of that case, by onnxruntime's outputs; positive where it is none.
        real: What real arithmetic says of it; None without a specification.
    """

    accepted: bool
    reason: str | None
    output: NDArray[np.floating]
    difference: float
    case: int | None = None
    margin: float | None = None
    real: RealNumbers | None = None


def replay(
    content: bytes,
    network: bytes,
    asked: Sequence[AskedCase] | None,
    *,
    normalization: Normalization | None = None,
) -> Replay:
    """Run a counterexample again.

    Args:
        content: Of the file that `verify --counterexample` wrote.
        network: Content of the ONNX file.
        asked: Cases, one of which it must be a counterexample of; None to run it only.
        normalization: Mean and standard deviation of what stands in front of the network.

    Raises:
        CounterexampleError: The file is none, or its input does not fit the network.
    """
    x, y = _read(content)
    output = _run(network, x, normalization)
    if output.shape != y.shape:
        raise CounterexampleError(
            f"the counterexample has {y.size} outputs, the network has {output.size}"
        )
    difference = float(np.abs(output.astype(np.float64) - y.astype(np.float64)).max(initial=0.0))
    if asked is None:
        return Replay(True, None, output, difference)
    inside = [number for number, case in enumerate(asked) if _contains(case, x)]
    if not inside:
        reason = "its input lies in no region of the specification"
        return Replay(False, reason, output, difference)
    margins = [_margin(asked[number], output.astype(np.float64)) for number in inside]
    best = int(np.argmin(margins))
    case, margin = asked[inside[best]], margins[best]
    real = _in_real_numbers(network, x, case, normalization)
    found = Replay(True, None, output, difference, inside[best], margin, real)
    if margin <= 0:
        return found
    reason = f"onnxruntime's outputs meet no clause: {margin:.6g} is missing"
    return Replay(False, reason, output, difference, inside[best], margin, real)


def _read(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return input and outputs, flat, without trust in the file."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = sorted(entry.filename for entry in archive.infolist())
            if names != sorted(f"{name}.npy" for name in _MEMBERS):
                raise CounterexampleError(
                    f"a counterexample holds {', '.join(_MEMBERS)}; this file holds "
                    f"{', '.join(names)[:200]}"
                )
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise CounterexampleError("the counterexample is too large to be one")
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
    except CounterexampleError:
        raise
    except Exception as error:  # damage shows as errors of many kinds
        raise CounterexampleError(f"the file is damaged: {error}") from error
    for name, array in (("x", x), ("y", y)):
        if array.dtype != np.float32 or array.size == 0:
            raise CounterexampleError(f"{name} holds {array.dtype} of shape {array.shape}")
    if not np.isfinite(x).all():
        raise CounterexampleError("x holds what is not finite")
    return x.ravel(), y.ravel()


def _run(
    network: bytes, x: NDArray[np.float32], normalization: Normalization | None
) -> NDArray[np.floating]:
    """Return what onnxruntime makes of an input, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        # With a fallback it would try the same again, and print that to standard output.
        session = onnxruntime.InferenceSession(
            network, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
        entry = session.get_inputs()[0]
        shape = tuple(size if isinstance(size, int) and size > 0 else 1 for size in entry.shape)
        values: NDArray[np.floating] = x.reshape(shape)
        if normalization is not None:
            mean, std = per_channel(*normalization, shape)
            values = (values - mean) / std
        double = entry.type == "tensor(double)"
        fed = values.astype(np.float64 if double else np.float32)
        outputs: list[Any] = session.run(None, {entry.name: fed})
    except ProofError as error:
        raise CounterexampleError(str(error)) from error
    except Exception as error:  # onnxruntime has no common type of its errors
        raise CounterexampleError(f"onnxruntime cannot run it: {error}") from error
    found = np.asarray(outputs[0]).ravel()
    return found if found.dtype == np.float64 else found.astype(np.float32)


@np.errstate(over="ignore")  # beyond float32, the nearest number is infinite
def _contains(case: AskedCase, x: NDArray[np.float32]) -> bool:
    """Return whether an input lies in a region, exactly.

    Intervals that hold no float32 number, such as a fixed 0.1, stand for the nearest ones.
    """
    if case.lower.shape != x.shape:
        raise CounterexampleError(
            f"the counterexample has {x.size} inputs, the specification {case.lower.size}"
        )
    narrow, wide = _narrow(case), x.astype(np.float64)
    nearest = (part.astype(np.float32).astype(np.float64) for part in (case.lower, case.upper))
    low, high = (
        np.where(narrow, near, end)
        for near, end in zip(nearest, (case.lower, case.upper), strict=True)
    )
    if not ((low <= wide) & (wide <= high)).all():
        return False
    ball = case.ball
    if ball is None:
        return True
    total = Fraction(0)
    for value, center, radius in zip(
        np.where(narrow, ball.center, wide), ball.center, ball.radius, strict=True
    ):
        away = abs(Fraction(float(value)) - Fraction(float(center)))
        if radius == 0:
            if away:
                return False
            continue
        total += (away / Fraction(float(radius))) ** ball.norm
    return total <= 1


@np.errstate(over="ignore")
def _narrow(case: AskedCase) -> NDArray[np.bool_]:
    """Return where an interval of a region holds no float32 number."""
    near, infinity = case.lower.astype(np.float32), np.float32(np.inf)
    above = np.where(near < case.lower, np.nextafter(near, infinity), near)
    return np.asarray(above > case.upper, dtype=np.bool_)


def _margin(case: AskedCase, y: Array) -> float:
    """Return the least margin of a clause: the largest of C y − d over its rows.

    Its sign is right: outputs that are finite are taken exactly.
    """
    if np.isfinite(y).all():
        exact = (
            max(_exact_row(row, y, d) for row, d in zip(matrix, offset, strict=True))
            for matrix, offset in case.clauses
        )
        least = min(exact, default=None)
        tiny = 5e-324 if least is not None and least > 0 else -np.inf
        return np.inf if least is None else max(float(least), tiny)
    with np.errstate(invalid="ignore"):
        margins = [float((matrix @ y - offset).max()) for matrix, offset in case.clauses]
    return min((m for m in margins if not np.isnan(m)), default=np.inf)


def _exact_row(row: Array, y: Array, offset: float) -> Fraction:
    used = np.flatnonzero(row)
    products = (Fraction(float(row[i])) * Fraction(float(y[i])) for i in used)
    return sum(products, Fraction(0)) - Fraction(float(offset))


def _in_real_numbers(
    network: bytes, x: NDArray[np.float32], case: AskedCase, normalization: Normalization | None
) -> RealNumbers:
    """Bound the rows of a case at one input, and say whether it is a counterexample."""
    narrow, point = _narrow(case), x.astype(np.float64)
    ends = (np.where(narrow, end, point)[None] for end in (case.lower, case.upper))
    try:
        checked = read_network(network, normalization)
        enclosure = Enclosure.of(checked, Region(*ends))
    except ProofError:
        return RealNumbers.OPEN
    if checked.dropped is not None:
        return RealNumbers.OPEN
    holds, fails = False, True
    for matrix, offset in case.clauses:
        low = enclosure.backward(checked.output, matrix) - offset
        high = -enclosure.backward(checked.output, -matrix) - offset
        slack = 2.0**-50 * np.abs(offset)
        holds = holds or bool((high + slack <= 0).all())
        fails = fails and bool((low - slack > 0).any())
    if holds:
        return RealNumbers.CONFIRMS
    return RealNumbers.CONTRADICTS if fails else RealNumbers.OPEN
