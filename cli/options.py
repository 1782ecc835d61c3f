"""Types of the command line's options: what a text may say, and what it means."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.output import problem_with

__all__ = [
    "BUILT_IN_DATA",
    "DATA_SOURCE",
    "EPSILON",
    "INPUT_FILE",
    "METHODS",
    "METHOD_NAMES",
    "NUMBERS",
    "OUTPUT_FILE",
    "RADIUS",
    "RANGE",
    "SECONDS",
    "SPLIT_NAMES",
    "TARGETS",
    "VALID_RANGE",
    "common_options",
    "findings_options",
    "version",
    "version_option",
]

# The names of `solvers.methods.Method`, which would load the solvers; a test keeps them equal.
METHOD_NAMES = (
    "ibp",
    "crown-ibp",
    "forward",
    "forward+backward",
    "fast-lin",
    "crown",
    "alpha-crown",
    "fastc2v",
    "alpha-fastc2v",
    "lp",
    "optc2v",
    "sdp",
    "exact",
)

# The names in `models.data`, which would load torch; the same test keeps them equal.
BUILT_IN_DATA = ("digits",)
SPLIT_NAMES = ("auto", "all", "train", "validation", "test")

INPUT_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

Command = TypeVar("Command", bound=Callable[..., Any])


def version() -> str:
    """Return the version of the installed distribution."""
    try:
        return metadata.version("tightrope")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


class _Number(click.ParamType[float]):
    """A finite number above, or from, 0."""

    def __init__(self, name: str, *, zero_allowed: bool) -> None:
        self.name = name
        self._zero_allowed = zero_allowed

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with what it should have been."""
        wanted = "0 or more" if self._zero_allowed else "above 0"
        try:
            number = float(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not math.isfinite(number) or number < 0 or (number == 0 and not self._zero_allowed):
            self.fail(f"{value} is not usable; give a finite number {wanted}", param, ctx)
        return number


class _Listed(click.ParamType[tuple[Any, ...]]):
    """Comma-separated values."""

    def __init__(self, name: str, parse: Callable[[str], Any], wanted: str) -> None:
        self.name = name
        self._parse = parse
        self._wanted = wanted

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values in their order, or fail at the first that cannot be read."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        try:
            return tuple(self._parse(part) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not usable; give {self._wanted}", param, ctx)


class _Methods(click.ParamType[tuple[str, ...]]):
    """Comma-separated names of methods, each once."""

    name = "METHODS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names in the order given, or fail naming the methods there are."""
        names = [part.strip() for part in str(value).split(",") if part.strip()]
        known = ", ".join(METHOD_NAMES)
        for name in names:
            if name not in METHOD_NAMES:
                self.fail(f"there is no method {name!r}; the methods are {known}", param, ctx)
        if not names:
            self.fail(f"name at least one method of {known}", param, ctx)
        return tuple(dict.fromkeys(names))


class _ValidRange(click.ParamType[tuple[float, float] | None]):
    """`LOW,HIGH`, or `none`."""

    name = "LOW,HIGH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float] | None:
        """Return the two ends; None where inputs have no limits."""
        if str(value).strip().lower() == "none":
            return None
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not usable; give LOW,HIGH such as 0,1, or none", param, ctx)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self.fail(f"{value!r} is an empty or infinite range; give LOW < HIGH", param, ctx)
        return low, high


class _Range(click.ParamType[tuple[float, float]]):
    """`LOW,HIGH`, both above 0."""

    name = "LOW,HIGH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Return the two ends."""
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not usable; give LOW,HIGH such as 0.01,1", param, ctx)
        if not 0 < low <= high < math.inf:
            self.fail(f"{value!r} is no range of numbers above 0; give LOW <= HIGH", param, ctx)
        return low, high


class _DataSource(click.ParamType[str]):
    """A file or folder that is there, two of them with a comma, or the name of a built-in set."""

    name = "FILE|FOLDER|NAME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the text, or fail where nothing is meant by it."""
        text = str(value)
        if text in BUILT_IN_DATA or Path(text).exists():
            return text
        halves = [Path(half.strip()) for half in text.split(",")]
        if len(halves) != 2 or not all(half.exists() for half in halves):
            wanted = f"a file, a folder, IMAGES,LABELS, or {' or '.join(BUILT_IN_DATA)}"
            self.fail(f"{text!r} does not exist; give {wanted}", param, ctx)
        return text


class _OutputFile(click.ParamType[Path]):
    """A file that can be written, found out before the work rather than after it."""

    name = "FILE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the path, `-` for standard output."""
        path = Path(str(value))
        trouble = problem_with(path)
        if trouble:
            self.fail(trouble, param, ctx)
        return path


EPSILON = _Number("NUMBER", zero_allowed=True)
RADIUS = _Number("NUMBER", zero_allowed=False)
SECONDS = _Number("SECONDS", zero_allowed=False)
NUMBERS = _Listed("NUMBERS", float, "numbers separated by commas, such as 0.49,0.48,0.45")
TARGETS = _Listed("CLASSES", int, "classes separated by commas, such as 3,7")
METHODS = _Methods()
DATA_SOURCE = _DataSource()
VALID_RANGE = _ValidRange()
RANGE = _Range()
OUTPUT_FILE = _OutputFile()


def version_option(command: Command) -> Command:
    """Add `--version`, without reading the version before it is asked for."""

    def show(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            click.echo(f"tightrope {version()}")
            ctx.exit()

    decorate = click.option(
        "--version",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version and exit.",
    )
    return decorate(command)


def findings_options(command: Command) -> Command:
    """Add `--junit` and `--sarif`."""
    command = click.option(
        "--sarif", type=OUTPUT_FILE, help="Write what is not verified as SARIF, for code scanning."
    )(command)
    return click.option(
        "--junit", type=OUTPUT_FILE, help="Write a test for each input, as JUnit XML."
    )(command)


def common_options(command: Command) -> Command:
    """Add `--device`, `--seed`, `--quiet` and `--version`."""
    command = version_option(command)
    command = click.option(
        "--quiet", "-q", is_flag=True, help="Print as little as possible, and no progress."
    )(command)
    command = click.option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        help="Start of the random numbers of attacks.",
    )(command)
    return click.option(
        "--device",
        type=click.Choice(["cpu", "cuda", "auto"]),
        default="auto",
        show_default=True,
        help="Where bounds and attacks are computed; auto takes a GPU if there is one.",
    )(command)
