"""Windows of a first layer: no value is below their bounds, and they beat single neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import fold_affine, load_network
from models import operators as ops
from models.network import Network
from solvers.bounds import BoundOptions, Interval, Margins, Scene, bound_margins
from solvers.bounds.windows import has_windows, window_margins
from solvers.budget import Budget
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio import DecideOptions, decide
from solvers.problem import Box, Case
from solvers.results import Verdict
from solvers.vnnlib import fit_problem, read_vnnlib
from tests.helpers.random_graphs import GraphBuilder, seeds
from tests.solvers.bounds.support import (
    check_margins,
    descend,
    points_in,
    random_margins,
    random_region,
    uniform,
)
from tests.solvers.search.neurons.support import below

SQUARE = Interval(-torch.ones(1, 1, 1, 1, 2).double(), torch.ones(1, 1, 1, 1, 2).double())
BENCHMARK = Path(__file__).parents[4] / "shared/benchmarks/verivital"


def convolutional(seed: int, kernel: tuple[int, int], channels: int = 4, *, deep: bool) -> Network:
    """Return a convolution of one image with any stride, padding and dilation, and what follows."""
    b = GraphBuilder((1, 1, 6, 5), seed)
    weight = b.normal(channels, 1, *kernel)
    steps, edge = (b.integer(1, 2), b.integer(1, 2)), (b.integer(0, 1), b.integer(0, 1))
    bias = b.normal(channels, scale=0.3) if b.integer(0, 1) else None
    b.add(ops.Convolution(weight, bias, steps, edge, (1, b.integer(1, 2)), 1))
    b.add(ops.Relu())
    b.add(ops.Reshape((1, int(np.prod(b.shape(b.last))))))
    if deep:
        b.linear(5)
        b.add(ops.Relu())
    b.linear(3)
    return b.network()


def found_by(network: Network, region: Interval, margins: Margins) -> tuple[Tensor, Tensor]:
    """Return what CROWN proves of margins over one region, and what windows do."""
    scene = Scene(network, region)
    crown = bound_margins(scene, margins, Method.CROWN)
    wanted = torch.ones(margins.matrix.shape[1], dtype=torch.bool)
    rows = window_margins(scene, margins, crown.intermediate, Budget(), wanted)
    return crown.lower[0], rows


def single_window(weight: Sequence[Sequence[float]], bias: Sequence[float]) -> Network:
    """Return neurons that see a whole image of two pixels, and two sums of them to read."""
    b = GraphBuilder((1, 1, 1, 2))
    rows = torch.tensor(weight, dtype=torch.float64).reshape(len(weight), 1, 1, 2)
    ones, none, same = (1, 1), (0, 0), (1, 1)
    offset = b.store(torch.tensor(bias, dtype=torch.float64))
    b.add(ops.Convolution(b.store(rows), offset, ones, none, same, 1))
    b.add(ops.Relu())
    b.add(ops.Reshape((1, len(weight))))
    return b.network()


@settings(max_examples=60, derandomize=True)
@given(
    seed=seeds,
    kernel=st.sampled_from([(1, 1), (2, 2), (1, 3), (3, 2)]),
    width=st.sampled_from([0.0, 1e-9, 0.3, 2.0, 1e4]),
    deep=st.booleans(),
)
def test_no_value_is_below_the_bounds(
    seed: int, kernel: tuple[int, int], width: float, deep: bool
) -> None:
    network = convolutional(seed, kernel, deep=deep)
    region = random_region(network, seed, (width,))
    assert has_windows(Scene(network, region))
    margins = random_margins(network, 1, seed + 1)
    # Margins that are missing something make the climb go to its end.
    margins = replace(margins, offset=margins.offset + 3.0 * width)
    _, rows = found_by(network, region, margins)
    assert bool(rows.isfinite().all())
    x = points_in(region, 60, seed)
    x = torch.cat([x, descend(network, margins, region, x)], dim=1)
    check_margins(network, margins, rows.unsqueeze(0), x)


def test_one_window_loses_less_than_half_of_what_single_neurons_lose() -> None:
    line = torch.linspace(-1, 1, 41, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line).reshape(-1, 1, 1, 1, 2)
    lost = torch.zeros(2, dtype=torch.float64)
    for seed in range(25):
        generator = np.random.default_rng(seed)
        weight, bias = generator.normal(size=(5, 2)), generator.normal(size=5) * 0.5
        network = single_window(weight.tolist(), bias.tolist())
        margins = Margins(uniform(seed, 1, 1, 5), torch.full((1, 1), 9.0, dtype=torch.float64))
        crown, rows = found_by(network, SQUARE, margins)
        least = (network(grid).flatten(1) @ margins.matrix[0, 0] - 9.0).min()
        assert float(rows[0]) <= float(least) + 1e-9
        lost += least - torch.stack([crown[0], rows[0]])
    assert float(lost[1]) < 0.5 * float(lost[0])


def test_neurons_that_bend_together_lose_nothing() -> None:
    """max(0, x) + max(0, −x) − 2 max(0, x/2 + y/2) on a square: lines of each lose far more."""
    network = single_window([[1.0, 0.0], [-1.0, 0.0], [0.5, 0.5]], [0.0, 0.0, 0.0])
    matrix = torch.tensor([[[1.0, 1.0, -2.0]]], dtype=torch.float64)
    margins = Margins(matrix, torch.full((1, 1), 4.0, dtype=torch.float64))
    crown, rows = found_by(network, SQUARE, margins)
    assert float(crown[0]) + 4.0 <= -2.0 + 1e-9
    assert -1.6 <= float(rows[0]) + 4.0 <= -1.0 + 1e-9  # the least value is −1


def test_only_wanted_rows_are_bounded_and_no_time_means_no_bound() -> None:
    network = convolutional(3, (2, 2), deep=False)
    region = random_region(network, 3, (1.0,))
    scene, margins = Scene(network, region), random_margins(network, 1, 4)
    bounds = bound_margins(scene, margins, Method.CROWN).intermediate
    wanted = torch.tensor([False, True, False])
    rows = window_margins(scene, margins, bounds, Budget(), wanted)
    assert rows.isfinite().tolist() == [False, True, False]
    spent = Budget.of_seconds(0.0)
    assert not bool(window_margins(scene, margins, bounds, spent, wanted).isfinite().any())


def test_networks_without_small_windows_are_left_alone() -> None:
    b = GraphBuilder((1, 3, 4, 4))
    b.add(ops.Convolution(b.normal(2, 3, 3, 3), None, (1, 1), (0, 0), (1, 1), 1))
    b.add(ops.Relu())
    large = b.network()
    b = GraphBuilder((1, 1, 4, 4))
    conv = b.add(ops.Convolution(b.normal(1, 1, 1, 1), None, (1, 1), (0, 0), (1, 1), 1))
    relu = b.add(ops.Relu())
    b.add(ops.Add((1.0, 1.0)), relu, conv)
    around = b.network()
    for network in (large, around):
        scene = Scene(network, random_region(network, 0, (1.0,)))
        assert not has_windows(scene)
        margins = random_margins(network, 1, 0)
        bounds = bound_margins(scene, margins, Method.CROWN).intermediate
        wanted = torch.ones(3, dtype=torch.bool)
        assert not bool(window_margins(scene, margins, bounds, Budget(), wanted).isfinite().any())


def test_a_case_takes_over_what_windows_prove_of_its_open_clauses() -> None:
    network = single_window([[1.0, 0.0], [-1.0, 0.0], [0.5, 0.5]], [0.0, 0.0, 0.0])
    box = Box(-np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 2)))
    batch = CaseBatch(network, [Case(box, below((1.0, 1.0, -2.0), -1.7))])
    step = batch.bound(Method.CROWN, options=BoundOptions())
    assert batch.has_windows
    assert float(step.clause_lower[0][0]) < 0
    found = batch.by_windows(step.intermediate, step.clause_lower[0], Budget())
    assert 0 < float(found[0]) <= 0.7 + 1e-9
    proved = np.array([0.5])
    assert not np.isfinite(batch.by_windows(step.intermediate, proved, Budget())).any()


def test_windows_decide_what_neurons_cannot() -> None:
    if not BENCHMARK.exists():
        pytest.skip("the benchmark folder is not beside the repository")
    network = load_network(BENCHMARK / "onnx/Convnet_avgpool.onnx")
    problem = read_vnnlib(BENCHMARK / "vnnlib/prop_7_0.04.vnnlib")
    fitted = fit_problem(problem, network.input_shape, network.output_size)
    decision = decide(network, fitted, DecideOptions(timeout_seconds=60.0))
    assert decision.verdict is Verdict.VERIFIED
    assert decision.stages[-1].name == "windows"
    folded = fold_affine(network.to(torch.float64))
    region = fitted.cases[0].region
    matrix = np.concatenate([clause.matrix for clause in fitted.cases[0].specification.clauses])
    x = np.random.default_rng(0).uniform(region.lower, region.upper, (200, *region.shape))
    values = folded(torch.from_numpy(x)).flatten(1).numpy() @ matrix.T
    assert decision.lower is not None
    assert values.min() >= decision.lower


def test_a_margin_that_reads_no_neuron_is_its_constant() -> None:
    network = single_window([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    margins = Margins(torch.zeros(1, 1, 2).double(), torch.full((1, 1), 2.0).double())
    _, rows = found_by(network, SQUARE, margins)
    assert rows.tolist() == pytest.approx([-2.0])
