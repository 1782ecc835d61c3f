"""`tightrope verify`: one network, one VNN-LIB specification, one answer."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from rich.table import Table
from rich.text import Text

from cli.arguments import VerifyArguments
from cli.console import result_console, spinner
from cli.interrupts import stop_on_interrupt
from cli.output import write_all
from cli.proving import float32_line, proof_line, prove
from cli.vnncomp import result_text
from models import load_network
from models.network import Network
from reports import dump_json
from reports.evidence import counterexample_npz
from solvers.budget import Budget
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Problem
from solvers.proof.producing.produce import Prover
from solvers.proof.producing.trace import Trace
from solvers.results import Decision, Evidence, Stage, Verdict
from solvers.vnnlib import fit_problem, read_vnnlib

__all__ = ["run"]


def run(arguments: VerifyArguments) -> int:
    """Decide, print the verdict, and write the files that were asked for.

    Raises:
        TightropeError: The network or the specification cannot be used.
        OutputError: A file cannot be written; none is.
    """
    network = load_network(arguments.network)
    problem = fit_problem(
        read_vnnlib(arguments.specification), network.input_shape, network.output_size
    )
    options = DecideOptions(
        timeout_seconds=arguments.timeout, device=arguments.device, seed=arguments.seed
    )
    trace = None if arguments.proof is None else Trace()
    with (
        stop_on_interrupt() as cancelled,
        spinner(network.name, quiet=arguments.quiet) as say,
    ):
        decision = decide(
            network,
            problem,
            options,
            cancelled=cancelled,
            progress=lambda stage: say(f"after {_stage_line(stage)}"),
            trace=trace,
        )
        content = None
        if trace is not None:
            say("proving")
            budget = Budget.of_seconds(arguments.proof_timeout, cancelled)
            decision, content = _proved(arguments, network, problem, decision, budget, trace=trace)
    texts: dict[Path, str | bytes] = {}
    if arguments.proof is not None and content is not None:
        texts[arguments.proof] = content
    if arguments.counterexample is not None and decision.counterexample is not None:
        found = decision.counterexample
        texts[arguments.counterexample] = counterexample_npz(found.x, found.y)
    if arguments.json is not None:
        texts[arguments.json] = dump_json(decision.to_json())
    if arguments.vnncomp is not None:
        texts[arguments.vnncomp] = result_text(decision)
    _show(decision, network.notes, arguments)
    write_all(texts)
    return 0


def _proved(
    arguments: VerifyArguments,
    network: Network,
    problem: Problem,
    decision: Decision,
    budget: Budget,
    *,
    trace: Trace,
) -> tuple[Decision, bytes | None]:
    """Return the decision with its evidence, and the proof if there is one."""
    if decision.verdict is not Verdict.VERIFIED:
        return decision, None
    digest = sha256(arguments.specification.read_bytes()).hexdigest()
    prover = Prover(network, arguments.device)
    return prove(prover, problem, decision, budget, trace=trace, specification_sha256=digest)


def _show(decision: Decision, notes: Sequence[str], arguments: VerifyArguments) -> None:
    """Print the verdict alone on its line, and what stands behind it."""
    console = result_console(arguments.json)
    console.print(decision.verdict.value)
    if arguments.quiet:
        return
    weaker = decision.verdict is Verdict.VERIFIED and decision.evidence is Evidence.SOLVER
    note = " (no checked proof)" if weaker else ""
    console.print(f"evidence {decision.evidence.value}{note}, {decision.seconds:.2f} s")
    if decision.reason is not None:
        console.print(f"reason   {decision.reason}", markup=False)
    if decision.proof is not None:
        console.print(proof_line(decision.proof), markup=False)
    if decision.verdict is Verdict.VERIFIED:
        console.print(float32_line(decision), markup=False)
    console.print(f"margin   {_bracket(decision.lower, decision.upper)}", markup=False)
    table = Table()
    for heading in ("stage", "seconds", "lower", "upper", "detail"):
        table.add_column(heading, justify="left" if heading in ("stage", "detail") else "right")
    for stage in decision.stages:
        table.add_row(
            Text(stage.name),
            f"{stage.seconds:.2f}",
            _number(stage.lower),
            _number(stage.upper),
            Text(stage.detail or ""),
        )
    console.print(table)
    for note in notes:
        console.print(f"note: {note}", markup=False)


def _stage_line(stage: Stage) -> str:
    """Return a stage and what it gave, for the progress line."""
    return f"{stage.name}, margin {_bracket(stage.lower, stage.upper)}"


def _bracket(lower: float | None, upper: float | None) -> str:
    """Return an interval in which the worst-case margin lies."""
    return f"in [{_number(lower, '-inf')}, {_number(upper, 'inf')}]"


def _number(value: float | None, missing: str = "") -> str:
    """Return a number for people."""
    return missing if value is None else f"{value:.6g}"
