"""VNN-LIB 1.0 files to problems."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.errors import ShapeError, SpecificationError
from solvers.problem import Case, Problem
from solvers.vnnlib.assembly import build_cases
from solvers.vnnlib.conditions import Branch, Scope, check_size, conjoin, read_condition
from solvers.vnnlib.expressions import Atom, Form, parse_expressions, shorten
from solvers.vnnlib.limits import VnnlibLimits
from solvers.vnnlib.terms import Kind, Variable

__all__ = ["fit_problem", "read_vnnlib"]

_GZIP_MAGIC = b"\x1f\x8b"
_VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]*)")


def read_vnnlib(
    source: Path | str | bytes,
    *,
    name: str | None = None,
    limits: VnnlibLimits | None = None,
) -> Problem:
    """Read a specification in VNN-LIB 1.0.

    The file asserts what a counterexample must meet. Inputs `X_0 …` and outputs `Y_0 …` are in
    row-major order; regions come out flat, see `fit_problem`. Disjunctions may differ in their
    input boxes: each box becomes one case. Strict comparisons are read as non-strict ones.

    Args:
        source: A path, or the bytes of the file; gzip is unpacked.
        name: For people; None takes the file's name.
        limits: On size and nesting; None takes the defaults.

    Raises:
        SpecificationError: The file cannot be read or understood; the message names the line.

    Source: Demarchi et al. 2023, *Supporting Standardization of Neural Networks Verification
    with VNN-LIB and CoCoNet*.
    """
    bounds = limits or VnnlibLimits()
    content = source if isinstance(source, bytes) else _read_file(Path(source), bounds)
    text = _decode(content, bounds)
    file = _File(bounds)
    for form in parse_expressions(text, depth=bounds.depth, words=bounds.words):
        file.execute(form)
    label = "problem" if isinstance(source, bytes) else Path(source).name.split(".vnnlib")[0]
    return Problem(file.cases(), name if name is not None else label)


def fit_problem(problem: Problem, input_shape: tuple[int, ...], outputs: int) -> Problem:
    """Return the problem with its regions in the shape of a network's input.

    Args:
        problem: With flat regions.
        input_shape: Of one input of the network.
        outputs: Number of outputs of the network.

    Raises:
        ShapeError: The number of inputs differs.
        SpecificationError: The number of outputs differs.
    """
    declared = problem.cases[0].specification.outputs
    if declared != outputs:
        raise SpecificationError(
            f"the specification declares {declared} outputs, the network has {outputs}; "
            "they do not belong together"
        )
    try:
        cases = tuple(
            Case(case.region.reshape(input_shape), case.specification) for case in problem.cases
        )
    except ShapeError as error:
        raise ShapeError(f"{error}; the specification belongs to another network") from error
    return replace(problem, cases=cases)


def _too_large(limits: VnnlibLimits) -> SpecificationError:
    return SpecificationError(
        f"the specification is larger than the limit of {limits.size_bytes} bytes"
    )


def _read_file(path: Path, limits: VnnlibLimits) -> bytes:
    """Return the file's bytes, one more than the limit at most."""
    try:
        with path.open("rb") as stream:
            return stream.read(limits.size_bytes + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecificationError(f"cannot read {shorten(str(path))}: {reason}") from error


def _decode(content: bytes, limits: VnnlibLimits) -> str:
    if len(content) > limits.size_bytes:
        raise _too_large(limits)
    if content.startswith(_GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                content = stream.read(limits.size_bytes + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise SpecificationError(f"the gzip file is damaged: {error}") from error
        if len(content) > limits.size_bytes:
            raise _too_large(limits)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecificationError(
            f"byte {error.start} is not UTF-8 text; is this a VNN-LIB file?", line=line
        ) from error


@dataclass
class _File:
    """What has been read so far.

    Attributes:
        limits: On the result.
        variables: Declared so far, by name.
        single: Assertions without alternatives.
        alternatives: Assertions with some.
        count: Of disjuncts once everything read so far is multiplied out.
    """

    limits: VnnlibLimits
    variables: dict[str, Variable] = field(default_factory=dict)
    single: list[list[Branch]] = field(default_factory=list)
    alternatives: list[list[Branch]] = field(default_factory=list)
    count: int = 1

    def execute(self, form: Form) -> None:
        """Carry out one top-level command."""
        head = form.items[0] if form.items else None
        command = _COMMANDS.get(head.text) if isinstance(head, Atom) else None
        if command is None:
            raise SpecificationError(
                f"{form} is not a command of VNN-LIB; use one of {' '.join(_COMMANDS)}",
                line=form.line,
            )
        command(self, form)

    def cases(self) -> tuple[Case, ...]:
        """Return what was asked, once everything is read."""
        sizes = self._count(Kind.INPUT), self._count(Kind.OUTPUT)
        common = conjoin(self.single, self.limits, 0)[0]
        alternatives = conjoin(self.alternatives, self.limits, 0)
        return build_cases(common, alternatives, sizes, limits=self.limits)

    def _count(self, kind: Kind) -> int:
        indices = {variable.number for variable in self.variables.values() if variable.kind is kind}
        if not indices:
            raise SpecificationError(
                f"no variable {kind.value}_0 is declared; add (declare-const {kind.value}_0 Real)"
            )
        missing = next(index for index in range(len(indices) + 1) if index not in indices)
        if missing != len(indices):
            raise SpecificationError(
                f"{kind.value}_{missing} is not declared, although {kind.value}_{max(indices)} "
                "is; number the variables 0, 1, 2, …"
            )
        return len(indices)


def _declare(file: _File, name: Atom) -> None:
    match = _VARIABLE.fullmatch(name.text)
    if match is None:
        raise SpecificationError(
            f"variable {str(name)!r} is neither an input X_0, X_1, … nor an output Y_0, Y_1, …",
            line=name.line,
        )
    # The length is checked first, because turning many digits into a number is slow.
    if len(match[2]) > 18 or int(match[2]) >= file.limits.variables:
        raise SpecificationError(
            f"variable {str(name)!r} is beyond the limit of {file.limits.variables} variables",
            line=name.line,
        )
    if name.text in file.variables:
        raise SpecificationError(f"{name} is declared twice", line=name.line)
    file.variables[name.text] = Variable(Kind(match[1]), int(match[2]))


def _declare_const(file: _File, form: Form) -> None:
    match form.items:
        case [_, Atom() as name, Atom("Real")]:
            _declare(file, name)
        case _:
            raise SpecificationError(
                f"cannot read {form}; write (declare-const X_0 Real)", line=form.line
            )


def _declare_fun(file: _File, form: Form) -> None:
    match form.items:
        case [_, Atom() as name, Form([]), Atom("Real")]:
            _declare(file, name)
        case _:
            raise SpecificationError(
                f"cannot read {form}; write (declare-fun X_0 () Real)", line=form.line
            )


def _assert(file: _File, form: Form) -> None:
    if len(form.items) != 2:
        raise SpecificationError(
            f"(assert …) takes one condition, here are {len(form.items) - 1}; "
            "join them with (and …)",
            line=form.line,
        )
    branches = read_condition(form.items[1], Scope(file.variables, file.limits))
    (file.single if len(branches) == 1 else file.alternatives).append(branches)
    file.count *= len(branches)
    check_size(file.count, 0, file.limits, line=form.line)


def _ignore(_file: _File, _form: Form) -> None:
    """Skip a command that says nothing about the problem."""


_COMMANDS: Mapping[str, Callable[[_File, Form], None]] = {
    "declare-const": _declare_const,
    "declare-fun": _declare_fun,
    "assert": _assert,
    "set-logic": _ignore,
    "set-info": _ignore,
}
