"""The commands and their options; the work is elsewhere and loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from cli.access_commands import keys, projects
from cli.arguments import (
    BenchArguments,
    CertifyArguments,
    CheckArguments,
    CompareArguments,
    RadiusArguments,
    TrainArguments,
    TuneArguments,
    VerifyArguments,
)
from cli.options import (
    INPUT_FILE,
    OUTPUT_FILE,
    RANGE,
    SECONDS,
    common_options,
    findings_options,
    version_option,
)
from cli.proof_options import proof_timeout_option, proofs_option
from cli.question_options import (
    normalization_options,
    question_options,
    require_normalization,
)
from cli.radius_options import radius_options
from cli.train_options import check_start, learn_options, take_settings, weight_options
from worker.collecting import loading

__all__ = ["tightrope"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@version_option
def tightrope() -> None:
    """Certify neural networks: can this network be made to change its mind?

    Exit status: 0 done, 1 gate failed, 2 bad input, 3 failure, 130 interrupted.
    """


@tightrope.command(context_settings=_CONTEXT)
@click.argument("network", type=INPUT_FILE)
@question_options
@click.option("--json", type=OUTPUT_FILE, help="Write the report as JSON; - for standard output.")
@click.option("--html", type=OUTPUT_FILE, help="Write the report as a page that stands alone.")
@findings_options
@proofs_option("every verified input")
@proof_timeout_option
@common_options
def certify(**options: object) -> int:
    """Certify that no perturbation within EPSILON of each input changes the answer."""
    require_normalization(options)
    _require_all_distinct(("json", "html", "junit", "sarif"), options)
    with loading():
        from cli import certify as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(CertifyArguments(**options))  # type: ignore[arg-type]


@tightrope.command(context_settings=_CONTEXT)
@click.option(
    "--baseline", type=INPUT_FILE, required=True, help="The network that others are compared with."
)
@click.option(
    "--candidate",
    type=INPUT_FILE,
    required=True,
    multiple=True,
    help="A network to compare with it; may be given several times.",
)
@question_options
@click.option("--json", type=OUTPUT_FILE, help="Write the report as JSON; - for standard output.")
@click.option("--html", type=OUTPUT_FILE, help="Write the report as a page that stands alone.")
@findings_options
@common_options
def compare(**options: object) -> int:
    """Certify a baseline and candidates on the same inputs, and weigh the difference."""
    require_normalization(options)
    _require_all_distinct(("json", "html", "junit", "sarif"), options)
    with loading():
        from cli import compare as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(CompareArguments(**options))  # type: ignore[arg-type]


@tightrope.command(context_settings=_CONTEXT)
@click.argument("network", type=INPUT_FILE)
@radius_options
@click.option("--json", type=OUTPUT_FILE, help="Write the report as JSON; - for standard output.")
@click.option("--html", type=OUTPUT_FILE, help="Write the report as a page that stands alone.")
@common_options
def radius(**options: object) -> int:
    """Measure how far from each input the nearest other answer is.

    Brackets the smallest distortion that changes the answer: the largest radius that is proved,
    and the smallest with a counterexample. After Ctrl-C the brackets known by then are kept.
    """
    require_normalization(options)
    _require_distinct("json", "html", options)
    with loading():
        from cli import radius as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(RadiusArguments(**options))  # type: ignore[arg-type]


@tightrope.command(context_settings=_CONTEXT)
@click.argument("network", type=INPUT_FILE)
@click.argument("specification", type=INPUT_FILE)
@click.option(
    "--timeout", type=SECONDS, default=60.0, show_default=True, help="Seconds for the decision."
)
@click.option("--json", type=OUTPUT_FILE, help="Write the answer as JSON; - for standard output.")
@click.option(
    "--proof", type=OUTPUT_FILE, help="Prove a verified, have the proof checked, and write it."
)
@proof_timeout_option
@click.option("--counterexample", type=OUTPUT_FILE, help="Write the counterexample as .npz.")
@click.option("--vnncomp", type=OUTPUT_FILE, help="Write the answer in VNN-COMP's result format.")
@common_options
def verify(**options: object) -> int:
    """Decide a VNN-LIB specification: is there an input that meets it?

    Prints `verified` (there is none), `falsified` or `unknown` alone on the first line.
    """
    for first, second in combinations(("json", "proof", "counterexample", "vnncomp"), 2):
        _require_distinct(first, second, options)
    with loading():
        from cli import verify as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(VerifyArguments(**options))  # type: ignore[arg-type]


@tightrope.command(context_settings=_CONTEXT)
@click.argument("evidence", type=INPUT_FILE, metavar="EVIDENCE")
@click.option("--network", type=INPUT_FILE, required=True, help="The network it is about.")
@click.option(
    "--spec", "specification", type=INPUT_FILE, help="A VNN-LIB file that must be what was proved."
)
@normalization_options
@click.option("--exact", is_flag=True, help="Redo a small proof in exact arithmetic as well.")
@click.option("--json", type=OUTPUT_FILE, help="Write the outcome as JSON; - for standard output.")
@common_options
def check(**options: object) -> int:
    """Check a proof, or run a counterexample again, trusting nothing that made it.

    Prints `accepted` or `rejected` alone on the first line, then what was proved in words. Exit
    status: 0 accepted, 1 rejected, 2 bad input.
    """
    require_normalization(options)
    from cli import check as work  # noqa: PLC0415 - loads the checker

    return work.run(CheckArguments(**options))  # type: ignore[arg-type]


@tightrope.command(context_settings=_CONTEXT)
@learn_options
@weight_options
@click.option("--out", type=OUTPUT_FILE, required=True, help="The trained network, as ONNX.")
@click.option(
    "--baseline-out",
    type=OUTPUT_FILE,
    help="Train without regularizers too, from the same seed, and write that network.",
)
@click.option(
    "--checkpoint",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write checkpoints to, and to go on from if it has one.",
)
@click.option("--json", type=OUTPUT_FILE, help="Write the report as JSON; - for standard output.")
@click.option("--csv", type=OUTPUT_FILE, help="Write the metrics of every epoch.")
@click.option("--html", type=OUTPUT_FILE, help="Write the report as a page that stands alone.")
@common_options
def train(**options: Any) -> int:  # noqa: ANN401
    """Train a network whose bounds are tight, with λ·feasibility and γ·slack in its loss."""
    check_start(options)
    _require_all_distinct(("out", "baseline_out", "json", "csv", "html"), options)
    settings = take_settings(options)
    with loading():
        from cli import train as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(TrainArguments(settings=settings, **options))


@tightrope.command(context_settings=_CONTEXT)
@learn_options
@click.option(
    "--trials", type=click.IntRange(min=2), default=20, show_default=True, help="Trainings in all."
)
@click.option(
    "--feasibility-range",
    type=RANGE,
    default="0.001,10",
    show_default=True,
    help="Smallest and largest λ.",
)
@click.option(
    "--slack-range",
    type=RANGE,
    default="0.001,10",
    show_default=True,
    help="Smallest and largest γ.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the sweep and its networks; one that is there is gone on with.",
)
@click.option("--json", type=OUTPUT_FILE, help="Write the report as JSON; - for standard output.")
@click.option("--html", type=OUTPUT_FILE, help="Write the report as a page that stands alone.")
@common_options
def tune(**options: Any) -> int:  # noqa: ANN401
    """Search weights of the regularizers: the front of clean and certified accuracy."""
    check_start(options)
    _require_distinct("json", "html", options)
    settings = take_settings(options)
    with loading():
        from cli import tune as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(TuneArguments(settings=settings, **options))


@tightrope.command(context_settings=_CONTEXT)
@click.argument("instances", type=INPUT_FILE)
@click.option("--timeout", type=SECONDS, help="Seconds for each instance, in place of the file's.")
@click.option("--json", type=OUTPUT_FILE, help="Write the results as JSON; - for standard output.")
@proofs_option("every verified instance")
@proof_timeout_option
@common_options
def bench(**options: object) -> int:
    """Run the instances of a CSV file in one warm process.

    The file has a header that names at least onnx, vnnlib and timeout_s (and expected: sat,
    unsat or unknown), or VNN-COMP's three columns without one. Paths are relative to it.
    """
    with loading():
        from cli import bench as work  # noqa: PLC0415 - loads torch and the solvers

    return work.run(BenchArguments(**options))  # type: ignore[arg-type]


@tightrope.command(
    context_settings={"ignore_unknown_options": True}, add_help_option=False, options_metavar=""
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def gate(arguments: tuple[str, ...]) -> int:
    """Certify on a server, and fail when a network withstands less than it should."""
    # Its options are those of `tightrope-gate`, which is the same code.
    from tightrope_client.gate import main  # noqa: PLC0415 - loads the client

    return main(arguments, program="tightrope gate")


@tightrope.command(context_settings=_CONTEXT)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("tightrope-data"),
    envvar="TIGHTROPE_DATA_DIR",
    show_default=True,
    show_envvar=True,
    help="Folder of the database and the files; made if it does not exist.",
)
@version_option
def serve(host: str, port: int, data_dir: Path) -> int:
    """Run the service: the API and a worker, with nothing else to install."""
    from cli.serve import serve as run  # noqa: PLC0415 - loads the service

    return run(host, port, data_dir)


tightrope.add_command(keys)
tightrope.add_command(projects)


def _require_all_distinct(names: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse two results in one file, of several that there may be."""
    for first, second in combinations(names, 2):
        _require_distinct(first, second, options)


def _require_distinct(first: str, second: str, options: Mapping[str, object]) -> None:
    """Refuse two results in one file, where the second would replace the first."""
    if options[first] is not None and options[first] == options[second]:
        names = (name.replace("_", "-") for name in (first, second))
        raise click.UsageError(f"--{' and --'.join(names)} name the same file; give two")
