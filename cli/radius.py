"""`tightrope radius`: how far from each input the nearest other answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cli.arguments import RadiusArguments
from cli.console import percent, progress_bar, result_console
from cli.interrupts import stop_on_interrupt
from cli.output import write_all
from cli.question import radius_options, radius_settings_of, read_data
from cli.question_options import NORMS
from models import Dataset, fit_dataset, load_network
from models.network import Network
from reports import dump_json, radius_html, radius_report
from solvers.radius import radius_items

__all__ = ["run"]

INTERRUPTED = 130


def run(arguments: RadiusArguments) -> int:
    """Bracket radii, print them, and write the files that were asked for.

    An interrupt ends the search; the brackets known by then hold, so they are printed and written
    all the same.

    Returns:
        0, or 130 after an interrupt.

    Raises:
        TightropeError: The network, the data or the options cannot be used.
        OutputError: A file cannot be written; none is.
    """
    network = load_network(arguments.network)
    dataset = fit_dataset(read_data(arguments), network)
    items: list[dict[str, Any]] = []
    interrupted = False
    try:
        _search(arguments, network, dataset, items)
    except KeyboardInterrupt:
        if not items:
            raise
        interrupted = True
    report = _report(arguments, network, dataset, items)
    texts: dict[Path, str] = {}
    if arguments.json is not None:
        texts[arguments.json] = dump_json(report)
    if arguments.html is not None:
        texts[arguments.html] = radius_html(report)
    if not arguments.quiet:
        _show(report, arguments)
    write_all(texts)
    if interrupted:
        click.echo("interrupted; what is known by then was kept", err=True)
        return INTERRUPTED
    return 0


def _search(
    arguments: RadiusArguments, network: Network, dataset: Dataset, items: list[dict[str, Any]]
) -> None:
    """Append the bracket of every input to `items` as soon as it is known."""
    indices = range(min(arguments.count, len(dataset.y)))
    with (
        stop_on_interrupt() as cancelled,
        progress_bar("measuring", len(indices), quiet=arguments.quiet) as advance,
    ):
        for item in radius_items(
            network, dataset, radius_options(arguments), indices=indices, cancelled=cancelled
        ):
            items.append(item.to_json())
            advance(f"input {item.index}: {item.lower:.4g} to {item.upper:.4g}")


def _report(
    arguments: RadiusArguments,
    network: Network,
    dataset: Dataset,
    items: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Assemble the report, with what a reader needs to repeat the run."""
    return radius_report(
        network={"name": network.name, "sha256": network.sha256, "notes": list(network.notes)},
        region={
            "norm": arguments.norm,
            "valid_range": arguments.valid_range,
            "max_epsilon": arguments.max_epsilon,
        },
        settings=radius_settings_of(arguments, dataset),
        items=items,
    )


def _show(report: Mapping[str, Any], arguments: RadiusArguments) -> None:
    """Print a line for each input, and the figures of the set."""
    summary, console = report["summary"], result_console(arguments.json)
    name = f"{report['network']['name']}, {NORMS[arguments.norm]} distance"
    table = Table(title=Text(name))
    for heading in ("input", "label", "proved", "counterexample at", "status", "time"):
        table.add_column(heading, justify="left" if heading == "status" else "right")
    for item in report["items"]:
        words = f"{item['status']}, {item['reason']}" if item["reason"] else item["status"]
        table.add_row(
            str(item["index"]),
            str(item["label"]),
            f"{item['lower']:.5g}",
            "–" if item["upper"] is None else f"{item['upper']:.5g}",
            Text(words),
            f"{item['seconds']:.1f} s",
        )
    console.print(table)
    middle = [
        "–" if summary[end] is None else f"{summary[end]:.5g}"
        for end in ("median_lower", "median_upper")
    ]
    console.print(
        f"{summary['count']} inputs, {percent(summary['clean_accuracy'])} right: "
        f"{summary['bracketed']} bracketed, {summary['maximum']} proved to the maximum, "
        f"{summary['open']} open; median between {middle[0]} and {middle[1]}; "
        f"{summary['seconds']:.1f} s"
    )
    for note in report["network"]["notes"]:
        console.print(f"note: {note}", markup=False)
