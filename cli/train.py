"""`tightrope train`: a network, or a named architecture, with tightness regularizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cli.arguments import TrainArguments
from cli.console import percent, result_console, step_bar
from cli.interrupts import stop_on_interrupt
from cli.learning import read_splits, start_network, step_note, training_options
from cli.output import write_all
from models import write_network
from models.data import Splits
from models.network import Network
from reports import dump_json
from reports.training import metrics_csv, training_html, training_report
from training import TrainingOptions, TrainingResult, train

__all__ = ["run"]

INTERRUPTED = 130


@dataclass(frozen=True)
class _Arm:
    """A network to train, and what becomes of it."""

    name: str
    options: TrainingOptions
    out: Path
    checkpoint: Path | None


@dataclass(frozen=True)
class _Trained:
    """What training an arm gave."""

    arm: _Arm
    result: TrainingResult


def run(arguments: TrainArguments) -> int:
    """Train, print the figures of the best epoch, and write the networks and reports.

    An interrupt ends the run with the best epoch so far, which is written; the status says so.

    Raises:
        TightropeError: The network, the data or the options cannot be used.
        OutputError: A file cannot be written; none is.
    """
    splits = read_splits(arguments)
    network = start_network(arguments, splits.training)
    trained: list[_Trained] = []
    interrupted = False
    try:
        with stop_on_interrupt() as cancelled:
            for arm in _arms(arguments):
                trained.append(_train(network, splits, arm, arguments, cancelled))
                if cancelled():
                    break
    except KeyboardInterrupt:
        interrupted = True
        trained = [entry for entry in trained if entry.result.best_epoch]
        if not trained:
            raise
    _write(trained, network, splits, arguments)
    if interrupted:
        click.echo("interrupted; the best so far was written", err=True)
    return INTERRUPTED if interrupted else 0


def _arms(arguments: TrainArguments) -> list[_Arm]:
    """Return what to train: the network asked for, and its twin without regularizers."""
    options = training_options(arguments)
    arms = [_Arm("candidate", options, arguments.out, arguments.checkpoint)]
    if arguments.baseline_out is not None:
        plain = replace(options, feasibility_weight=0.0, slack_weight=0.0)
        folder = arguments.checkpoint
        beside = None if folder is None else folder / "baseline"
        arms.append(_Arm("baseline", plain, arguments.baseline_out, beside))
    return arms


def _train(
    network: Network,
    splits: Splits,
    arm: _Arm,
    arguments: TrainArguments,
    cancelled: Callable[[], bool],
) -> _Trained:
    """Train one arm behind a progress bar."""
    with step_bar(f"training {arm.name}", quiet=arguments.quiet) as report:
        result = train(
            network,
            splits.training,
            splits.validation,
            arm.options,
            checkpoint=arm.checkpoint,
            cancelled=cancelled,
            progress=lambda event: report(event.step, event.steps, step_note(event)),
        )
    return _Trained(arm, result)


def _write(
    trained: list[_Trained], network: Network, splits: Splits, arguments: TrainArguments
) -> None:
    """Print the figures and write every file that was asked for."""
    files: dict[Path, str | bytes] = {
        entry.arm.out: write_network(entry.result.network) for entry in trained
    }
    report = training_report(
        network={"name": network.name, "sha256": network.sha256, "notes": list(network.notes)},
        dataset=splits.record(),
        settings=trained[0].arm.options.to_json(),
        arms={entry.arm.name: entry.result.to_json() for entry in trained},
    )
    if arguments.json is not None:
        files[arguments.json] = dump_json(report)
    if arguments.html is not None:
        files[arguments.html] = training_html(report)
    if arguments.csv is not None:
        files[arguments.csv] = metrics_csv(_rows(trained))
    if not arguments.quiet:
        _show(trained, network, arguments)
    write_all(files)


def _rows(trained: list[_Trained]) -> list[dict[str, Any]]:
    """Return one row per epoch of every arm."""
    return [
        {
            "arm": entry.arm.name,
            "step": metrics.epoch * entry.result.settings["steps_per_epoch"],
            "epoch": metrics.epoch,
            "epsilon": metrics.epsilon,
            "kappa": metrics.kappa,
            "loss": metrics.loss,
            "metrics": metrics.to_json(),
        }
        for entry in trained
        for metrics in entry.result.history
    ]


def _show(trained: list[_Trained], network: Network, arguments: TrainArguments) -> None:
    """Print the best epoch of every arm."""
    options = trained[0].arm.options
    console = result_console(arguments.json)
    title = f"{network.name}, {options.method}, L∞ ε = {options.epsilon:g}, on validation data"
    table = Table(title=Text(title))
    for heading in ("", "clean", "under attack", f"certified, {options.certified_by}"):
        table.add_column(heading, justify="right" if heading else "left")
    for heading in ("mean gap", "unstable", "best epoch", "seconds"):
        table.add_column(heading, justify="right")
    for entry in trained:
        best = entry.result.best
        if best is None:
            continue
        table.add_row(
            entry.arm.name,
            percent(best.clean_accuracy),
            percent(best.empirical_accuracy),
            percent(best.certified_accuracy),
            f"{best.mean_gap:.4g}",
            f"{best.unstable_total:.1f}",
            f"{entry.result.best_epoch} of {entry.arm.options.epochs}",
            f"{entry.result.seconds:.1f}",
        )
    console.print(table)
