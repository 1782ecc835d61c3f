"""What a person sees: progress on a terminal, and tables.

Progress goes to standard error and only to a terminal, so that a pipe gets results alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.output import STANDARD_OUTPUT

__all__ = [
    "Bar",
    "Report",
    "StepReport",
    "percent",
    "progress_bar",
    "result_console",
    "spinner",
    "step_bar",
]

Report = Callable[[str], None]
StepReport = Callable[[int, int, str], None]
_PIPE_WIDTH = 140


def result_console(json_path: Path | None) -> Console:
    """Return the console for results: standard error where JSON takes standard output."""
    to_stderr = json_path == STANDARD_OUTPUT
    console = Console(stderr=to_stderr, highlight=False, soft_wrap=False)
    # A pipe has no width; the default of 80 columns would fold tables.
    return console if console.is_terminal else Console(stderr=to_stderr, width=_PIPE_WIDTH)


def percent(share: float | None) -> str:
    """Return a share in percent, or a dash where nothing is known."""
    return "–" if share is None else f"{100 * share:.1f} %"


@dataclass(frozen=True)
class Bar:
    """A bar on the terminal, or nothing where there is none."""

    progress: Progress
    task: TaskID

    def __call__(self, note: str) -> None:
        """Move by one, and say what that was."""
        self.progress.update(self.task, advance=1, note=note)

    def note(self, note: str) -> None:
        """Say what is going on, without moving."""
        self.progress.update(self.task, note=note)


@contextmanager
def progress_bar(title: str, total: int, *, quiet: bool) -> Iterator[Bar]:
    """Show a bar that moves by one at each call of what is yielded, which takes a note."""
    with _progress(_bar_columns(), quiet=quiet) as progress:
        yield Bar(progress, progress.add_task(title, total=total, note=""))


@contextmanager
def step_bar(title: str, *, quiet: bool) -> Iterator[StepReport]:
    """Show a bar at a step of so many; the yielded function takes step, steps and a note."""
    with _progress(_bar_columns(), quiet=quiet) as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda step, steps, note: progress.update(
            task, completed=step, total=steps, note=note
        )


@contextmanager
def spinner(title: str, *, quiet: bool) -> Iterator[Report]:
    """Show that work goes on; the yielded function says what it is at."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with _progress(columns, quiet=quiet) as progress:
        task = progress.add_task(title, total=None)
        yield lambda note: progress.update(task, description=f"{title}: {note}")


def _bar_columns() -> tuple[ProgressColumn, ...]:
    """Return what stands in a line with a bar."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )


def _progress(columns: tuple[ProgressColumn, ...], *, quiet: bool) -> Progress:
    """Return a progress display on standard error that vanishes when it is done."""
    console = Console(stderr=True)
    return Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    )
