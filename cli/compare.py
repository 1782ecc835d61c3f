"""`tightrope compare`: a baseline and candidates under identical conditions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.arguments import CompareArguments
from cli.console import percent, progress_bar, result_console
from cli.findings import comparison_files
from cli.interrupts import stop_on_interrupt
from cli.output import write_all
from cli.question import certify_options, read_data, region_of, settings_of
from cli.question_options import NORMS
from models import load_network
from reports import comparison_html, comparison_report, dump_json
from solvers.comparison import compare_networks

__all__ = ["run"]


def run(arguments: CompareArguments) -> int:
    """Compare, print the figures, and write the files that were asked for.

    Raises:
        TightropeError: Networks, data or options cannot be used.
        OutputError: A file cannot be written; none is.
    """
    networks = [load_network(path) for path in (arguments.baseline, *arguments.candidate)]
    dataset = read_data(arguments)
    indices = range(min(arguments.count, len(dataset)))
    total = len(indices) * len(networks)
    with (
        stop_on_interrupt() as cancelled,
        progress_bar("comparing", total, quiet=arguments.quiet) as advance,
    ):
        comparison = compare_networks(
            networks[0],
            networks[1:],
            dataset,
            certify_options(arguments),
            indices=indices,
            cancelled=cancelled,
            progress=lambda name, item: advance(f"{name}, input {item.index}: {item.verdict}"),
        )
    sides = [arm.to_json() for arm in (comparison.baseline, *comparison.candidates)]
    report = comparison_report(
        sides[0],
        sides[1:],
        region=region_of(arguments),
        settings=settings_of(arguments, dataset),
    )
    texts: dict[Path, str] = {}
    if arguments.json is not None:
        texts[arguments.json] = dump_json(report)
    if arguments.html is not None:
        texts[arguments.html] = comparison_html(report)
    texts |= comparison_files(sides, report["region"], arguments, data_sha256=dataset.sha256)
    if not arguments.quiet:
        _show(report, arguments)
    write_all(texts)
    return 0


def _show(report: Mapping[str, Any], arguments: CompareArguments) -> None:
    """Print a table for each candidate."""
    console, baseline = result_console(arguments.json), report["baseline"]
    radius = f"{NORMS[arguments.norm]} ε = {arguments.epsilon:g}"
    for candidate in report["candidates"]:
        title = f"{candidate['name']} beside {baseline['name']}, {radius}"
        console.print(_accuracies(title, baseline, candidate))
        console.print(
            f"{baseline['summary']['count']} inputs: {len(candidate['gained'])} gained, "
            f"{len(candidate['lost'])} lost; certified gap "
            f"{percent(baseline['summary']['certified_gap'])} before, "
            f"{percent(candidate['summary']['certified_gap'])} now"
        )
        _show_tightness(console, baseline, candidate)


def _accuracies(title: str, baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> Table:
    """Return the accuracies of both, with the difference and what it is worth."""
    table = Table(title=Text(title))
    for heading in ("accuracy", "baseline", "candidate", "difference", "95 % interval", "p"):
        table.add_column(heading, justify="left" if heading == "accuracy" else "right")
    before, after = baseline["summary"], candidate["summary"]
    rows = [
        (name, before[f"{key}_accuracy"], after[f"{key}_accuracy"], candidate["accuracy"][key])
        for name, key in (("clean", "clean"), ("empirical (under attack)", "empirical"))
    ]
    rows += [
        (
            f"certified, {method}",
            before["certified_accuracy"][method],
            after["certified_accuracy"][method],
            {**change, "difference": change["certified_accuracy"]},
        )
        for method, change in candidate["difference"].items()
    ]
    for name, was, now, change in rows:
        table.add_row(
            name,
            percent(was),
            percent(now),
            _points(change["difference"]),
            f"{_points(change['low'])} … {_points(change['high'])}",
            f"{change['p_value']:.2g}",
        )
    return table


def _points(change: float | None) -> str:
    """Return a change of a share in percentage points, with its sign."""
    return "–" if change is None else f"{100 * change:+.1f}"


def _show_tightness(
    console: Console, baseline: Mapping[str, Any], candidate: Mapping[str, Any]
) -> None:
    """Print the unstable neurons and the slack of both, where they were measured."""
    before, after = baseline["tightness"], candidate["tightness"]
    if before is None or after is None:
        console.print("unstable neurons: not measured, crown does not fit into memory")
        return
    words = [f"unstable neurons {before['unstable']:.1f} before, {after['unstable']:.1f} now"]
    if before["slack"] is not None and after["slack"] is not None:
        words.append(f"slack {before['slack']:.4g} before, {after['slack']:.4g} now")
    console.print("; ".join(words))
