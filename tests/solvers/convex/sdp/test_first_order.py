"""The first-order method: its operator, where it begins, what it reaches, and what is proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import load_network
from models.fold import fold_affine
from solvers.budget import Budget
from solvers.convex.sdp import SdpOptions, SdpSolver, SdpStatus, sdp_margin
from solvers.convex.sdp.crown_start import crown_start
from solvers.convex.sdp.first_order import DualOperator, FirstOrder, FirstOrderSettings
from solvers.convex.sdp.lanczos import least_eigenpair
from solvers.convex.sdp.safe import Multipliers, dual_matrix, safe_bound
from solvers.problem import Case, linf_ball, robustness
from tests.helpers.graphs import mlp
from tests.helpers.lifted import inputs_of, lifted_case, of_case

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CASE = lifted_case(mlp((5, 12, 12, 3), seed=4), 0.5)
PROGRAM = CASE.program()
SHARED = Path(__file__).resolve().parents[5] / "shared" / "benchmarks" / "sdp"


@pytest.mark.parametrize("device", DEVICES)
def test_the_operator_is_the_dual_matrix(device: str) -> None:
    generator = np.random.default_rng(0)
    products = PROGRAM.products
    diagonal = generator.uniform(size=PROGRAM.size - 1)
    product = generator.normal(size=products.count)
    matrix = dual_matrix(PROGRAM, Multipliers(products, diagonal, product))
    matrix[0, 0] -= 0.7
    operator = DualOperator(PROGRAM, device)
    parts = [
        torch.tensor(0.7, dtype=torch.float64),
        torch.from_numpy(diagonal),
        torch.from_numpy(product),
    ]
    vector = generator.normal(size=PROGRAM.size)
    found = operator.apply(
        *(part.to(device) for part in parts), torch.from_numpy(vector).to(device)
    )
    assert found.cpu().numpy() == pytest.approx(matrix @ vector, abs=1e-12)
    value = vector @ matrix @ vector
    slopes = operator.derivatives(torch.from_numpy(vector).to(device))
    for place, (part, slope) in enumerate(zip(parts, slopes, strict=True)):
        changed = [p.clone() for p in parts]
        changed[place].view(-1)[0] += 1e-3
        moved = operator.apply(
            *(p.to(device) for p in changed), torch.from_numpy(vector).to(device)
        )
        difference = (vector @ moved.cpu().numpy() - value) / 1e-3
        assert float(slope.view(-1)[0]) == pytest.approx(difference, abs=1e-6)
        assert part.numel() == slope.numel()


def test_lanczos_finds_the_least_eigenvalue_from_above() -> None:
    half = torch.randn(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = half + half.T
    least = float(torch.linalg.eigvalsh(matrix)[0])
    start = torch.ones(40, dtype=torch.float64)
    values = [least_eigenpair(lambda v: matrix @ v, start, steps=n)[0] for n in (3, 10, 40, 99)]
    assert all(value >= least - 1e-10 for value in values)
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(least, abs=1e-8)
    value, vector = least_eigenpair(lambda v: matrix @ v, start, steps=40)
    assert matrix @ vector == pytest.approx(value * vector, abs=1e-6)
    # a start inside an invariant subspace ends the recursion early
    one = torch.eye(3, dtype=torch.float64)[0]
    assert least_eigenpair(lambda v: 2.0 * v, one, steps=3)[0] == 2.0


@pytest.mark.parametrize("seed", range(5))
def test_it_begins_with_what_crown_proves(seed: int) -> None:
    case = lifted_case(mlp((4, 8, 8, 3), seed=seed), 0.5)
    for clause, crown in enumerate(case.crown):
        program = case.program(clause)
        start = crown_start(program)
        assert start.bound * program.objective.scale == pytest.approx(crown, abs=1e-7)
        assert safe_bound(program, start.multipliers) == pytest.approx(crown, abs=1e-4)
        assert (start.importance >= 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_it_closes_most_of_the_gap_to_the_optimum_and_proves_what_it_estimates(
    device: str,
) -> None:
    options = SdpOptions(rounds=0)
    optimum = sdp_margin(
        CASE.network, CASE.case, CASE.bounds, options=options, budget=Budget()
    ).clause_lower[0]
    seen: list[float] = []
    method = FirstOrder(PROGRAM, FirstOrderSettings(steps=700), device, 0)
    proved = safe_bound(PROGRAM, method.run(Budget(), on_step=seen.append))
    assert seen == sorted(seen)
    assert proved == pytest.approx(seen[-1], rel=2e-2, abs=2e-2)
    assert proved <= optimum + 1e-3 * (1.0 + abs(optimum))
    assert optimum - proved < 0.3 * (optimum - CASE.crown[0])


@pytest.mark.parametrize("steps", [1, 30])
def test_every_stop_gives_a_valid_bound_that_is_not_below_crown(steps: int) -> None:
    result = sdp_margin(
        CASE.network,
        CASE.case,
        CASE.bounds,
        options=SdpOptions(solver=SdpSolver.FIRST_ORDER, iterations=steps),
        budget=Budget(),
    )
    for clause, lower in enumerate(result.clause_lower):
        assert lower <= min(CASE.margin_at(x, clause) for x in inputs_of(CASE.case, 300))
        assert lower >= CASE.crown[clause] - 1e-3
    assert result.solver is SdpSolver.FIRST_ORDER


def test_a_deadline_ends_the_ascent() -> None:
    result = sdp_margin(
        CASE.network,
        CASE.case,
        CASE.bounds,
        options=SdpOptions(solver=SdpSolver.FIRST_ORDER, iterations=10**9),
        budget=Budget.of_seconds(1.0),
    )
    assert result.status is SdpStatus.TIMEOUT
    assert 0 < result.steps < 10**9
    assert (result.clause_lower >= CASE.crown - 1e-3).all()


def test_it_stops_at_a_proved_clause_where_no_more_is_asked() -> None:
    options = SdpOptions(solver=SdpSolver.FIRST_ORDER, stop_when_positive=True, iterations=2000)
    easy = lifted_case(mlp((5, 12, 12, 2), seed=4), 0.5)
    clause = easy.case.specification.clauses[0]
    moved = type(clause)(clause.matrix, clause.offset + easy.crown[0] - 0.01)
    specification = type(easy.case.specification)((moved,))
    case = of_case(easy.network, Case(easy.case.region, specification))
    result = sdp_margin(case.network, case.case, case.bounds, options=options, budget=Budget())
    assert result.status is SdpStatus.POSITIVE
    assert result.steps < 100


def test_one_seed_gives_one_result() -> None:
    def run() -> float:
        method = FirstOrder(PROGRAM, FirstOrderSettings(steps=60), "cpu", 3)
        return safe_bound(PROGRAM, method.run(Budget()))

    assert run() == run()


def test_a_convolutional_network_of_images_goes_far_beyond_crown() -> None:
    path = SHARED / "onnx" / "mnist_cnn_a_adv.onnx"
    if not path.exists():
        pytest.skip("the benchmark networks are not beside the repository")
    network = fold_affine(load_network(path).to(torch.float64))
    with np.load(SHARED / "data" / "mnist_sdp200.npz") as data:
        x, label = data["x"][0].reshape(network.input_shape), int(data["y"][0])
    case = of_case(
        network, Case(linf_ball(x, 0.3), robustness(label, 10, (int(label == 3) * 2 + 3,)))
    )
    result = sdp_margin(
        network,
        case.case,
        case.bounds,
        options=SdpOptions(solver=SdpSolver.FIRST_ORDER, iterations=150),
        budget=Budget(),
    )
    assert result.size > 2000
    assert result.lower > case.crown[0] + 0.05
    assert result.lower <= min(case.margin_at(x) for x in inputs_of(case.case, 60))
