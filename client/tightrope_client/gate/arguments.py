"""What the gate is asked: its options, checked before anything is sent."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tightrope_client.errors import ConfigurationError
from tightrope_client.models import Normalization, Question
from tightrope_client.settings import DEFAULT_SERVER, SERVER_VARIABLE, RetryPolicy, version

__all__ = ["TIGHTEST", "VERDICT", "GateArguments", "parse"]

VERDICT, TIGHTEST = "verdict", "tightest"
DEFAULT_METHODS = ("ibp", "crown", "alpha-crown", "exact")
DEFAULT_MAX_DROP = 0.01
_OUTPUTS = ("junit", "sarif", "html", "json", "markdown")

_DESCRIPTION = """Certify a network on a Tightrope server, and fail when it withstands less than it
should. Files are uploaded only if the server does not have them. The API key is read from
TIGHTROPE_API_KEY."""
_EPILOG = """Exit status: 0 passed, 1 gate failed, 2 bad input, 3 failure of the server or of the
job, 130 interrupted."""


@dataclass(frozen=True, kw_only=True)
class GateArguments:
    """What the gate is asked.

    Attributes:
        server: Address; None for the environment's.
        network, data, baseline: Files, or ids of what the server has.
        question: What is asked of the networks, without the data set.
        min_certified, min_clean: Smallest shares that pass.
        max_drop: Largest loss of certified accuracy against the baseline.
        method: What certified accuracy means: `verdict`, `tightest` or a method.
        junit, sarif, html, json, markdown: Files to write; the last is added to.
        deadline: Seconds for the job.
        patience: Seconds for a server that cannot be reached.
        detach: Leave the job alone when interrupted.
        quiet: Print the result alone, and no progress.
    """

    server: str | None
    network: str
    data: str
    baseline: str | None
    question: dict[str, Any]
    min_certified: float | None
    min_clean: float | None
    max_drop: float
    method: str
    junit: Path | None
    sarif: Path | None
    html: Path | None
    json: Path | None
    markdown: Path | None
    deadline: float | None
    patience: float
    detach: bool
    quiet: bool

    def about(self, dataset_id: str) -> Question:
        """Return the question about a data set."""
        return Question(dataset_id=dataset_id, **self.question)


class _Parser(argparse.ArgumentParser):
    """A parser that raises in place of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(f"{message}; {self.prog} --help lists the options")


def parse(arguments: Sequence[str], *, program: str) -> GateArguments:
    """Return what is asked.

    Args:
        arguments: Of the command line, without the program's name.
        program: Its name, for help and errors.

    Raises:
        ConfigurationError: It cannot be used.
        SystemExit: Help or version was asked for, and printed.
    """
    given = vars(_parser(program).parse_args(list(arguments)))
    if (given["mean"] is None) != (given["std"] is None):
        raise ConfigurationError("give both --mean and --std, or neither")
    _check_limits(given)
    _check_outputs(given)
    question = _question(given)
    kept = {name: given[name] for name in GateArguments.__dataclass_fields__ if name in given}
    return GateArguments(**kept, question=question)


def _question(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked of the networks, by the names of the service."""
    question: dict[str, Any] = {
        "epsilon": given["epsilon"],
        "norm": given["norm"],
        "methods": given["methods"],
        "timeout_seconds": given["timeout"],
        "valid_range": given["valid_range"],
        "seed": given["seed"],
        "reuse": not given["no_reuse"],
    }
    for name in ("count", "targets", "priority"):
        if given[name] is not None:
            question[name] = given[name]
    if given["mean"] is not None:
        question["normalization"] = Normalization(mean=given["mean"], std=given["std"])
    return question


def _check_limits(given: dict[str, Any]) -> None:
    """Refuse a gate that nothing could fail, and limits of what is not measured."""
    if given["baseline"] is None and given["min_certified"] is None and given["min_clean"] is None:
        raise ConfigurationError(
            "there is nothing to fail: give --min-certified, --min-clean or --baseline"
        )
    if given["baseline"] is None and given["max_drop"] is not None:
        raise ConfigurationError("--max-drop is measured against a baseline: give --baseline")
    if given["max_drop"] is None:
        given["max_drop"] = DEFAULT_MAX_DROP
    if given["method"] not in (VERDICT, TIGHTEST, *given["methods"]):
        raise ConfigurationError(
            f"--method {given['method']} is not among --methods {','.join(given['methods'])}; "
            f"add it there, or count by {VERDICT} or {TIGHTEST}"
        )


def _check_outputs(given: dict[str, Any]) -> None:
    """Refuse results that cannot be written, before the work rather than after it."""
    paths = {name: given[name] for name in _OUTPUTS if given[name] is not None}
    for name, path in paths.items():
        folder = path.resolve().parent
        if path.is_dir():
            raise ConfigurationError(f"--{name}: {path} is a folder; name a file")
        if not folder.is_dir():
            raise ConfigurationError(f"--{name}: the folder {folder} does not exist; create it")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise ConfigurationError(f"--{name}: {path} may not be written; choose another file")
    if len({path.resolve() for path in paths.values()}) < len(paths):
        raise ConfigurationError("two results name the same file; give each its own")


def _parser(program: str) -> _Parser:
    parser = _Parser(prog=program, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tightrope-client {version()}")
    parser.add_argument(
        "--server", metavar="URL", help=f"address; else {SERVER_VARIABLE}, or {DEFAULT_SERVER}"
    )
    _add_question(parser)
    _add_limits(parser)
    _add_results(parser)
    return parser


def _add_question(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is certified")
    add = group.add_argument
    add("--network", metavar="FILE|ID", required=True, help="ONNX file, or id on the server")
    add("--data", metavar="FILE|ID", required=True, help=".npz with x and y, or id on the server")
    add("--epsilon", metavar="NUMBER", type=_not_negative, required=True,
        help="radius of the region, in raw input units")  # fmt: skip
    add("--norm", choices=("inf", "2", "1"), default="inf", help="of the region (%(default)s)")
    add("--count", metavar="N", type=_count, help="only the first so many inputs")
    add("--methods", metavar="LIST", type=_names, default=DEFAULT_METHODS,
        help=f"methods to run ({','.join(DEFAULT_METHODS)})")  # fmt: skip
    add("--targets", metavar="LIST", type=_classes, help="classes that may win; else all")
    add("--timeout", metavar="SECONDS", type=_positive, default=60.0,
        help="for the exact answer of each input (%(default)g)")  # fmt: skip
    add("--valid-range", metavar="LOW,HIGH", type=_range, default=(0.0, 1.0),
        help="smallest and largest valid input value, or none (0,1)")  # fmt: skip
    add("--mean", metavar="LIST", type=_numbers, help="subtracted from inputs")
    add("--std", metavar="LIST", type=_numbers, help="inputs are divided by it after the mean")
    add("--seed", metavar="N", type=_integer, default=0, help="of attacks (%(default)s)")
    add("--priority", metavar="N", type=_priority,
        help="from -10 to 10; the project's job of the highest goes first (0)")  # fmt: skip
    add("--no-reuse", action="store_true", help="compute afresh what was asked before")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what passes")
    add = group.add_argument
    add("--min-certified", metavar="SHARE", type=_share, help="smallest certified accuracy")
    add("--min-clean", metavar="SHARE", type=_share, help="smallest clean accuracy")
    add("--method", metavar="NAME", default=VERDICT,
        help=f"what certified accuracy means: {VERDICT}, proved by any method (the default); "
        f"{TIGHTEST}, by the method that proves most; or one of --methods")  # fmt: skip
    add("--baseline", metavar="FILE|ID",
        help="compare with this network, such as the main branch's")  # fmt: skip
    add("--max-drop", metavar="SHARE", type=_share,
        help=f"largest loss of certified accuracy against it ({DEFAULT_MAX_DROP})")  # fmt: skip


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    add = group.add_argument
    add("--junit", metavar="FILE", type=Path, help="write JUnit XML")
    add("--sarif", metavar="FILE", type=Path, help="write SARIF 2.1.0 for code scanning")
    add("--html", metavar="FILE", type=Path, help="write the report as a page")
    add("--json", metavar="FILE", type=Path, help="write the outcome as JSON")
    add("--markdown", metavar="FILE", type=Path, help="add the outcome to a file, as Markdown")
    add("--deadline", metavar="SECONDS", type=_positive, help="for the job; else it may take any")
    add("--patience", metavar="SECONDS", type=_not_negative, default=RetryPolicy.patience_seconds,
        help="for a server that cannot be reached or is overloaded (%(default)g)")  # fmt: skip
    add("--detach", action="store_true", help="leave the job alone when interrupted")
    add("--quiet", "-q", action="store_true", help="print as little as possible, no progress")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error


def _not_negative(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not usable; give a number of 0 or more")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not usable; give a number above 0")
    return value


def _share(text: str) -> float:
    value = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; give one such as 0.9 or 90%")
    return value


def _priority(text: str) -> int:
    value = _integer(text)
    if not -10 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text} is not usable; give a priority from -10 to 10")
    return value


def _count(text: str) -> int:
    value = _integer(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not usable; give a count of 1 or more")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("name at least one method")
    return names


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part) for part in text.split(","))


def _classes(text: str) -> tuple[int, ...]:
    return tuple(_integer(part) for part in text.split(","))


def _range(text: str) -> tuple[float, float] | None:
    if text.strip().lower() == "none":
        return None
    ends = _numbers(text)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is no range; give LOW,HIGH or none")
    return ends[0], ends[1]
