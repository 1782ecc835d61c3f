"""Known counterexamples of public benchmarks are found, and confirmed in onnxruntime."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from models import OnnxRuntime, load_network
from solvers.attack import AttackOptions, attack
from solvers.budget import Budget
from solvers.replay import confirm
from solvers.vnnlib import fit_problem, read_vnnlib

BENCHMARKS = Path(__file__).parents[3].parent / "shared" / "benchmarks"


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("test", "sat"),
        ("rl_benchmarks", "sat"),
        ("collins_rul_cnn", "sat"),
        ("mnist_fc", "sat"),
        ("test", "unsat"),
        ("rl_benchmarks", "unsat"),
    ],
)
def test_counterexamples_are_found_where_there_are_any(category: str, expected: str) -> None:
    table = BENCHMARKS / category / "instances.csv"
    if not table.exists():
        pytest.skip("the benchmark files are not beside the repository")
    with table.open(newline="") as stream:
        chosen = [row for row in csv.DictReader(stream) if row["expected"] == expected]
    for row in chosen:
        network = load_network(table.parent / row["onnx"], check=False)
        problem = fit_problem(
            read_vnnlib(table.parent / row["vnnlib"]), network.input_shape, network.output_size
        )
        options = AttackOptions(stop_at_first=True)
        results = attack(network, problem.cases, options, budget=Budget())
        runtime = OnnxRuntime(network)
        found = [
            confirm(runtime, case.region, case.specification, result.candidate)
            for case, result in zip(problem.cases, results, strict=True)
            if result.candidate is not None
        ]
        assert any(found) == (expected == "sat"), row["vnnlib"]
