"""`tightrope bench`: many instances in one warm process, each answered or excused."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cli.arguments import BenchArguments
from cli.console import result_console, spinner
from cli.failures import describe
from cli.instances import Instance, read_instances
from cli.interrupts import stop_on_interrupt
from cli.output import replaceable, write_all
from cli.proving import folder_for, prove
from cli.vnncomp import ANSWERS
from models import load_network
from models.network import Network
from reports import dump_json
from solvers.budget import Budget
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Problem
from solvers.proof.producing.produce import Prover
from solvers.proof.producing.trace import Trace
from solvers.results import Decision, Evidence, ProofReport, Verdict
from solvers.vnnlib import fit_problem, read_vnnlib

__all__ = ["contradicts", "run", "score"]

logger = logging.getLogger(__name__)

Cancelled = Callable[[], bool]


def run(arguments: BenchArguments) -> int:
    """Run every instance, print a line for each as it ends, and write the results.

    An instance that fails is a line with the verdict `unknown` and the reason. The file of results
    is kept up to date, so that whatever ends the process leaves those of the instances before.

    Raises:
        InvalidInputError: The list cannot be read.
        OutputError: The results cannot be written.
    """
    instances = read_instances(arguments.instances, arguments.timeout)
    console = result_console(arguments.json)
    rows: list[dict[str, Any]] = []
    if arguments.proofs is not None:
        folder_for(arguments.proofs)
    runner = _Runner(arguments)
    if not arguments.quiet:
        console.print(_HEADING, highlight=False)
    try:
        for number, instance in enumerate(instances, start=1):
            title = f"instance {number} of {len(instances)}"
            with stop_on_interrupt() as cancelled, spinner(title, quiet=arguments.quiet) as say:
                say(f"{instance.onnx} {instance.vnnlib}")
                row = runner.row(instance, cancelled)
            rows.append(row)
            _keep(arguments.json, rows)
            if not arguments.quiet:
                console.print(_line(number, row), markup=False, soft_wrap=True)
    except KeyboardInterrupt as interrupt:
        if not rows or arguments.json is None or not replaceable(arguments.json):
            raise
        raise click.Abort(f"{arguments.json} has what ended before") from interrupt
    scores = score(rows)
    _show(console, rows, scores)
    if arguments.json is not None and not replaceable(arguments.json):
        write_all({arguments.json: _results(rows)})
    return 0


def _keep(path: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    """Write the results so far, but not into a pipe, which would get them all again each time."""
    if path is not None and replaceable(path):
        write_all({path: _results(rows)})


def _results(rows: Sequence[dict[str, Any]]) -> str:
    return dump_json({"instances": rows, **score(rows)})


@dataclass
class _Runner:
    """Decides instances one after the other, and keeps the last network at hand.

    Attributes:
        arguments: Of the command.
        last: Path and network of the instance before.
        prover: A network and what proves verdicts about it.
    """

    arguments: BenchArguments
    last: tuple[Path, Network] | None = None
    prover: tuple[Network, Prover] | None = None

    def row(self, instance: Instance, cancelled: Cancelled) -> dict[str, Any]:
        """Decide one instance, whatever happens.

        Returns:
            What `bench --json` lists; `seconds` is the wall time with reading the files.
        """
        started = time.monotonic()
        question: tuple[Network, Problem] | None = None
        trace = None if self.arguments.proofs is None else Trace()
        try:
            question = self._question(instance)
            decision = self._decide(question, instance, started, cancelled, trace=trace)
        except Exception as error:
            logger.debug("instance %s %s", instance.onnx, instance.vnnlib, exc_info=error)
            decision = _unknown(describe(error))
        seconds = time.monotonic() - started
        if question is not None and trace is not None:
            decision = self._proved(question, instance, decision, cancelled, trace=trace)
        return {
            "onnx": instance.onnx,
            "vnnlib": instance.vnnlib,
            "verdict": decision.verdict.value,
            "expected": instance.expected,
            "evidence": decision.evidence.value,
            "deployment_sound": decision.deployment_sound,
            "proof": None if decision.proof is None else decision.proof.to_json(),
            "seconds": seconds,
            "timeout_seconds": instance.timeout_seconds,
            "lower": decision.lower,
            "upper": decision.upper,
            "reason": decision.reason,
            "stages": [stage.to_json() for stage in decision.stages],
        }

    def _question(self, instance: Instance) -> tuple[Network, Problem]:
        """Read the files."""
        network = self._network(instance.onnx_path)
        problem = read_vnnlib(instance.vnnlib_path)
        return network, fit_problem(problem, network.input_shape, network.output_size)

    def _decide(
        self,
        question: tuple[Network, Problem],
        instance: Instance,
        started: float,
        cancelled: Cancelled,
        *,
        trace: Trace | None,
    ) -> Decision:
        """Decide in what reading the files left of the time."""
        left = instance.timeout_seconds - (time.monotonic() - started)
        if left <= 0:
            return _unknown("timeout while reading the files")
        options = DecideOptions(
            timeout_seconds=left, device=self.arguments.device, seed=self.arguments.seed
        )
        return decide(*question, options, cancelled=cancelled, trace=trace)

    def _proved(
        self,
        question: tuple[Network, Problem],
        instance: Instance,
        decision: Decision,
        cancelled: Cancelled,
        *,
        trace: Trace,
    ) -> Decision:
        """Return the decision with its evidence, whatever happens; write the proof."""
        folder, (network, problem) = self.arguments.proofs, question
        if decision.verdict is not Verdict.VERIFIED or folder is None:
            return decision
        try:
            prover = self._prover(network)
            budget = Budget.of_seconds(self.arguments.proof_timeout, cancelled)
            digest = sha256(instance.vnnlib_path.read_bytes()).hexdigest()
            found, content = prove(
                prover, problem, decision, budget, trace=trace, specification_sha256=digest
            )
        except Exception as error:
            logger.debug("proof of %s %s", instance.onnx, instance.vnnlib, exc_info=error)
            return replace(decision, proof=ProofReport(reason=describe(error)))
        if content is not None:
            write_all({folder / _proof_name(instance): content})
        return found

    def _prover(self, network: Network) -> Prover:
        """Return what proves, read only where the instance before had another network."""
        if self.prover is None or self.prover[0] is not network:
            self.prover = network, Prover(network, self.arguments.device)
        return self.prover[1]

    def _network(self, path: Path) -> Network:
        """Return the network, read only where the instance before had another."""
        if self.last is None or self.last[0] != path:
            source = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path
            self.last = (path, load_network(source, name=path.name))
        return self.last[1]


def _proof_name(instance: Instance) -> str:
    """Return the name of an instance's proof."""
    names = (Path(name).name.removesuffix(".gz") for name in (instance.onnx, instance.vnnlib))
    return "-".join(Path(name).stem for name in names) + ".proof"


def _unknown(reason: str) -> Decision:
    """Return an answer that says nothing, and why."""
    return Decision(Verdict.UNKNOWN, Evidence.NONE, 0.0, reason=reason)


def contradicts(row: dict[str, Any]) -> bool:
    """Return whether an answer is the opposite of the expected one."""
    given = ANSWERS[Verdict(row["verdict"])]
    return {given, row["expected"]} == {"sat", "unsat"}


def score(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all instances.

    Returns:
        `solved`, the instances decided and not contradicting what was expected;
        `evidence`, how many answers are checked, rest on a solver's word, or on nothing;
        `deployment_sound`, how many verified ones are known to withstand float32 rounding too;
        `contradictions`; `par2_seconds`, the mean time in which an unsolved instance counts twice
        its time limit (None without instances).
    """
    contradictions = sum(contradicts(row) for row in rows)
    solved = [row["verdict"] != Verdict.UNKNOWN.value and not contradicts(row) for row in rows]
    seconds = [
        row["seconds"] if done else 2 * row["timeout_seconds"]
        for row, done in zip(rows, solved, strict=True)
    ]
    verified = [row for row in rows if row["verdict"] == Verdict.VERIFIED.value]
    return {
        "solved": sum(solved),
        "contradictions": contradictions,
        "par2_seconds": sum(seconds) / len(seconds) if seconds else None,
        "evidence": {
            evidence.value: sum(row["evidence"] == evidence.value for row in rows)
            for evidence in Evidence
        },
        "deployment_sound": sum(row["deployment_sound"] is True for row in verified),
    }


_HEADING = f"{'':>4} {'verdict':<10} {'expected':<9} {'evidence':<9} {'seconds':>8}  instance"


def _line(number: int, row: dict[str, Any]) -> str:
    """Return the table's line of one instance."""
    mark = "  CONTRADICTION" if contradicts(row) else ""
    reason = f"  ({row['reason']})" if row["reason"] else ""
    return (
        f"{number:>4} {row['verdict']:<10} {row['expected'] or '–':<9} {row['evidence']:<9} "
        f"{row['seconds']:>8.2f}  {Path(row['onnx']).name} {Path(row['vnnlib']).name}"
        f"{mark}{reason}"
    )


def _show(console: Console, rows: Sequence[dict[str, Any]], scores: dict[str, Any]) -> None:
    """Print the figures of all instances."""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ANSWERS}
    listed = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())
    console.print(
        f"{scores['solved']} of {len(rows)} solved ({listed}), "
        f"{scores['contradictions']} contradictions, PAR-2 {scores['par2_seconds']:.2f} s"
    )
    evidence = scores["evidence"]
    console.print(
        f"evidence: {evidence['checked']} checked, {evidence['solver']} by the word of a solver, "
        f"{evidence['none']} none"
    )
