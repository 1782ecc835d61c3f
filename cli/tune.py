"""`tightrope tune`: a sweep over the weights of the regularizers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import optuna
from rich.table import Table
from rich.text import Text

from cli.arguments import TuneArguments
from cli.console import percent, result_console, step_bar
from cli.interrupts import stop_on_interrupt
from cli.learning import read_splits, start_network, step_note, training_options
from cli.output import write_all
from models.data import Splits
from models.network import Network
from reports import dump_json
from reports.tuning import tuning_html, tuning_report
from training import TrainingOptions
from training.sweep import SweepEvent, SweepOptions, SweepResult
from training.tuning import tune

__all__ = ["run"]

INTERRUPTED = 130


def run(arguments: TuneArguments) -> int:
    """Search, print the trials, and write the reports that were asked for.

    An interrupt ends the sweep with the trials so far; the same command goes on with it.

    Raises:
        TightropeError: The network, the data or the options cannot be used.
        OutputError: A file cannot be written.
    """
    _quiet_optuna()
    splits, options = read_splits(arguments), training_options(arguments)
    network = start_network(arguments, splits.training)
    found: list[SweepResult] = []
    try:
        with stop_on_interrupt() as cancelled:
            found.append(_search(network, splits, options, arguments, cancelled))
    except KeyboardInterrupt:
        if not found or not found[0].trials:
            raise
    result = found[0]
    report = tuning_report(
        network={"name": network.name, "sha256": network.sha256, "notes": list(network.notes)},
        dataset=splits.record(),
        settings=_settings(options, arguments),
        sweep=result.to_json(),
    )
    files: dict[Path, str | bytes] = {}
    if arguments.json is not None:
        files[arguments.json] = dump_json(report)
    if arguments.html is not None:
        files[arguments.html] = tuning_html(report)
    if not arguments.quiet:
        _show(result, arguments)
    write_all(files)
    if not result.complete:
        click.echo("interrupted; the same command goes on with the sweep", err=True)
    return 0 if result.complete else INTERRUPTED


def _quiet_optuna() -> None:
    """Leave what Optuna has to say to the log of this program."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    logging.getLogger("optuna").setLevel(logging.WARNING)


def _search(
    network: Network,
    splits: Splits,
    options: TrainingOptions,
    arguments: TuneArguments,
    cancelled: Callable[[], bool],
) -> SweepResult:
    """Run the sweep behind a progress bar."""
    sweep = SweepOptions(
        trials=arguments.trials,
        seed=arguments.seed,
        feasibility=arguments.feasibility_range,
        slack=arguments.slack_range,
        folder=arguments.out,
    )
    with step_bar("tuning", quiet=arguments.quiet) as report:

        def progress(at: SweepEvent) -> None:
            steps = at.event.steps
            done = (at.trial - 1) * steps + at.event.step
            weights = f"λ {at.options.feasibility_weight:.3g}, γ {at.options.slack_weight:.3g}"
            note = f"trial {at.trial} of {at.trials}, {weights}, {step_note(at.event)}"
            report(done, at.trials * steps, note)

        return tune(
            network,
            splits.training,
            splits.validation,
            options=options,
            sweep=sweep,
            cancelled=cancelled,
            progress=progress,
        )


def _settings(options: TrainingOptions, arguments: TuneArguments) -> dict[str, Any]:
    """Return what a reader needs to repeat the sweep."""
    settings = options.to_json()
    for weight in ("feasibility_weight", "slack_weight"):
        del settings[weight]
    return {
        **settings,
        "trials": arguments.trials,
        "feasibility_range": list(arguments.feasibility_range),
        "slack_range": list(arguments.slack_range),
    }


def _show(result: SweepResult, arguments: TuneArguments) -> None:
    """Print every trial, and which are on the front."""
    console = result_console(arguments.json)
    table = Table(title=Text("trials on validation data; * on the front of both accuracies"))
    for heading in ("", "λ", "γ", "clean", "certified", "unstable", "network"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for trial in result.trials:
        table.add_row(
            f"{'*' if trial.number in result.front else ''}{trial.number}",
            f"{trial.feasibility_weight:.3g}",
            f"{trial.slack_weight:.3g}",
            percent(trial.clean_accuracy),
            percent(trial.certified_accuracy),
            f"{trial.figures['unstable']:.1f}" if trial.figures else "–",
            trial.network or trial.reason or "",
        )
    console.print(table)
