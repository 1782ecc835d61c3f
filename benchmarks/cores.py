"""What a second core brings to splitting: the same search by one thread and by several."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.exact_search import SEARCHED
from benchmarks.shared import print_table, shared_folder
from models import fold_affine, load_network
from models.runtime import OnnxRuntime
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.search.neurons import NeuronSearchOptions, search_neurons
from solvers.vnnlib import fit_problem, read_vnnlib

__all__ = ["run"]


@dataclass(frozen=True)
class _Way:
    """How cores are used: threads that split, and those that torch may use in all."""

    name: str
    workers: int
    threads: int


def run(seconds: float = 10.0) -> None:
    """Search by one thread, by one with torch's own, and by a crew, in turns.

    `TIGHTROPE_PAIRS` sets how often each has its turn, 3 by default; medians are printed, and
    ratios of medians. Cores are the process's seconds for each second of the clock.
    """
    cores = len(os.sched_getaffinity(0))
    ways = (
        _Way("one thread", 1, 1),
        _Way("one thread, torch's own beside it", 1, cores),
        _Way("threads that split", cores, cores),
    )
    table = []
    for names in SEARCHED:
        found: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
        for _ in range(int(os.environ.get("TIGHTROPE_PAIRS", "3"))):
            for way in ways:
                found[way.name].append(_searched(*names, way, seconds))
        alone = statistics.median(rate for rate, _ in found[ways[0].name])
        for way in ways:
            rates, used = zip(*found[way.name], strict=True)
            rate = statistics.median(rates)
            table.append(
                [*names[1:], way.name, rate, rate / alone, statistics.median(used)],
            )
    header = ["network", "specification", "way", "domains per s", "ratio", "cores"]
    print_table(f"Splitting on {cores} cores, {seconds:g} s each", header, table)


def _searched(
    category: str, onnx: str, vnnlib: str, way: _Way, seconds: float
) -> tuple[float, float]:
    """Return domains per second, and how many cores were used."""
    folder = shared_folder() / "benchmarks" / category
    network = load_network(folder / onnx)
    problem = fit_problem(read_vnnlib(folder / vnnlib), network.input_shape, network.output_size)
    wide, bracket = network.to(torch.float64), Bracket(problem.cases[0])
    folded, witness = fold_affine(wide), Witness(wide, OnnxRuntime(network))
    before = torch.get_num_threads()
    torch.set_num_threads(way.threads)
    options = NeuronSearchOptions(sharpen=False, workers=way.workers)
    cpu, clock = time.process_time(), time.perf_counter()
    outcome = search_neurons(
        folded, bracket, witness, options=options, budget=Budget.of_seconds(seconds)
    )
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    torch.set_num_threads(before)
    return outcome.domains / clock, cpu / clock
