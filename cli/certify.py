"""`tightrope certify`: a labelled set against norm balls, with every method that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.arguments import CertifyArguments
from cli.console import percent, progress_bar, result_console
from cli.findings import certification_files
from cli.interrupts import stop_on_interrupt
from cli.output import write_all
from cli.proving import folder_for
from cli.question import certify_options, read_data, region_of, settings_of
from cli.question_options import NORMS
from models import Dataset, fit_dataset, load_network
from models.network import Network
from reports import certification_html, certification_report, dump_json
from solvers.certification import CertifyStage, certify_items

__all__ = ["run"]


@dataclass(frozen=True)
class _Run:
    """What there is to say about one certification."""

    report: dict[str, Any]
    pictures: Mapping[int, Any]


def run(arguments: CertifyArguments) -> int:
    """Certify, print the figures, and write the files that were asked for.

    Raises:
        TightropeError: The network, the data or the options cannot be used.
        OutputError: A file cannot be written; none is.
    """
    network = load_network(arguments.network)
    dataset = fit_dataset(read_data(arguments), network)
    result = _certify(arguments, network, dataset)
    texts: dict[Path, str] = {}
    if arguments.json is not None:
        texts[arguments.json] = dump_json(result.report)
    if arguments.html is not None:
        texts[arguments.html] = certification_html(result.report, inputs=result.pictures)
    texts |= certification_files(result.report, arguments, dataset.sha256)
    if not arguments.quiet:
        _show(result.report, arguments)
    write_all(texts)
    return 0


def _certify(arguments: CertifyArguments, network: Network, dataset: Dataset) -> _Run:
    """Certify the first inputs and assemble the report."""
    wanted = None if arguments.proofs is None else arguments.proof_timeout
    options = certify_options(arguments, proof_timeout=wanted)
    indices = range(min(arguments.count, len(dataset.y)))
    proofs = None if arguments.proofs is None else folder_for(arguments.proofs)
    items: list[dict[str, Any]] = []
    with (
        stop_on_interrupt() as cancelled,
        progress_bar("certifying", len(indices), quiet=arguments.quiet) as advance,
    ):
        found = certify_items(
            network,
            dataset,
            options,
            indices=indices,
            cancelled=cancelled,
            progress=lambda stage: advance.note(_stage_note(stage)),
        )
        for item in found:
            items.append(item.to_json())
            if proofs is not None and item.proof_file is not None:
                write_all({proofs / f"{item.index:06d}.proof": item.proof_file})
            advance(f"input {item.index}: {item.verdict}")
    report = certification_report(
        network={"name": network.name, "sha256": network.sha256, "notes": list(network.notes)},
        region=region_of(arguments),
        settings=settings_of(arguments, dataset),
        items=items,
    )
    pictured = [item["index"] for item in items if item["counterexample"]]
    return _Run(report, {index: dataset.x[index] for index in pictured})


def _stage_note(stage: CertifyStage) -> str:
    """Say which stage has ended, of which inputs."""
    first, last = stage.indices[0], stage.indices[-1]
    inputs = f"input {first}" if len(stage.indices) == 1 else f"inputs {first} to {last}"
    return f"{inputs}: {stage.name} took {stage.seconds:.1f} s"


def _show(report: dict[str, Any], arguments: CertifyArguments) -> None:
    """Print the figures of the set."""
    summary, console = report["summary"], result_console(arguments.json)
    radius = f"{NORMS[arguments.norm]} ε = {arguments.epsilon:g}"
    table = Table(title=Text(f"{report['network']['name']}, {radius}"))
    for heading in ("accuracy", "share", "mean gap"):
        table.add_column(heading, justify="left" if heading == "accuracy" else "right")
    table.add_row("clean", percent(summary["clean_accuracy"]), "")
    table.add_row("empirical (under attack)", percent(summary["empirical_accuracy"]), "")
    for method, share in summary["certified_accuracy"].items():
        gap = summary["mean_gap"][method]
        table.add_row(f"certified, {method}", percent(share), "–" if gap is None else f"{gap:.4g}")
    console.print(table)
    console.print(
        f"{summary['count']} inputs: {summary['falsified']} falsified, "
        f"{summary['unknown']} unknown; certified gap {percent(summary['certified_gap'])}; "
        f"{summary['seconds']:.1f} s"
    )
    evidence = summary["evidence"]
    console.print(
        f"evidence: {evidence['checked']} checked, {evidence['solver']} by the word of a solver, "
        f"{evidence['none']} none"
    )
    for note in report["network"]["notes"]:
        console.print(f"note: {note}", markup=False)
