"""Labelled data certified over L1 and L2 balls: what is said holds, and nothing more is said."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from models import Dataset, OnnxRuntime, load_network
from models.errors import BoundsError
from models.network import Network
from solvers.balls import Norm
from solvers.bracket import Bracket, Witness
from solvers.certification import CertifyOptions, ItemResult, certify_items
from solvers.exact import ExactMode
from solvers.methods import BOUND_METHODS, Method
from solvers.problem import Case, norm_ball, robustness
from solvers.replay import confirm
from solvers.results import Evidence, Verdict
from tests.helpers.networks import cnn, mlp
from tests.helpers.programs import brute_force_margin

COUNT = 8
EPSILON = 0.2
ROUND = ("1", "2")


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(mlp((3, 4, 3, 3), seed=2))


@pytest.fixture(scope="module")
def dataset(network: Network) -> Dataset:
    x = np.random.default_rng(3).uniform(0, 1, (COUNT, *network.input_shape)).astype(np.float32)
    return Dataset(x, OnnxRuntime(network).run(x).argmax(axis=1).astype(np.int64), "made", "")


def _certify(network: Network, dataset: Dataset, norm: str, **settings: object) -> list[ItemResult]:
    options = {"epsilon": EPSILON, "methods": tuple(Method), "norm": norm, **settings}
    return list(certify_items(network, dataset, CertifyOptions(**options)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def items(network: Network, dataset: Dataset) -> dict[str, list[ItemResult]]:
    return {norm: _certify(network, dataset, norm) for norm in ("inf", *ROUND)}


def test_l1_brackets_hold_the_exact_margin(
    network: Network, dataset: Dataset, items: dict[str, list[ItemResult]]
) -> None:
    seen = set()
    for item, x in zip(items["1"], dataset.x, strict=True):
        region = norm_ball(x, EPSILON, Norm.ONE).reshape((3,))
        clauses = robustness(item.label, 3).clauses
        exact = min(brute_force_margin(network, region, clause) for clause in clauses)
        assert all(item.lower[method.value] <= exact + 1e-9 for method in BOUND_METHODS)
        assert item.upper is not None
        assert item.upper >= exact - 1e-5
        assert item.exact is not None
        assert item.exact[0] - 1e-5 <= exact <= item.exact[1] + 1e-5
        assert item.exact[1] - item.exact[0] <= 2e-3
        assert item.verdict is (Verdict.VERIFIED if exact > 0 else Verdict.FALSIFIED)
        seen.add(item.verdict)
    assert len(seen) == 2, "the data must show both answers"


def test_l2_brackets_hold_samples(
    network: Network, dataset: Dataset, items: dict[str, list[ItemResult]]
) -> None:
    random = np.random.default_rng(0)
    for item, x in zip(items["2"], dataset.x, strict=True):
        region = norm_ball(x, EPSILON, Norm.TWO)
        steps = [random.normal(size=x.shape) * random.choice([0.1, 1]) for _ in range(300)]
        points = np.stack([region.pulled_in(x + step) for step in steps])
        y = OnnxRuntime(network).run(points.astype(np.float32))
        sampled = float(robustness(item.label, 3).margin(y).min())
        assert max(item.lower.values()) <= sampled + 1e-5
        assert item.upper is not None
        if item.verdict is Verdict.VERIFIED:
            # An attack goes at least as deep as samples, until it finds a counterexample.
            assert item.upper <= sampled + 1e-3
        assert max(item.lower.values()) <= item.upper + 1e-5


@pytest.mark.parametrize("norm", ROUND)
def test_counterexamples_lie_in_the_ball_exactly(
    network: Network, dataset: Dataset, items: dict[str, list[ItemResult]], norm: str
) -> None:
    broken = [item for item in items[norm] if item.verdict is Verdict.FALSIFIED]
    assert broken
    for item in broken:
        assert item.counterexample is not None
        assert item.evidence is Evidence.CHECKED
        steps = [
            abs(Fraction(float(a)) - Fraction(float(b))) ** int(norm)
            for a, b in zip(
                item.counterexample.x.ravel(), dataset.x[item.index].ravel(), strict=True
            )
        ]
        assert sum(steps) <= Fraction(EPSILON) ** int(norm)


def test_smaller_balls_have_larger_margins(items: dict[str, list[ItemResult]]) -> None:
    compared = 0
    for three in zip(items["inf"], items["2"], items["1"], strict=True):
        if all(item.verdict is Verdict.VERIFIED for item in three):
            uppers = [item.upper or 0.0 for item in three]
            assert uppers == sorted(uppers)
            compared += 1
    assert compared


@pytest.mark.parametrize("norm", ROUND)
def test_images_are_certified(norm: str) -> None:
    network = load_network(cnn(side=6))
    x = np.random.default_rng(0).uniform(0, 1, (2, *network.input_shape)).astype(np.float32)
    y = OnnxRuntime(network).run(x).argmax(axis=1).astype(np.int64)
    methods = (Method.IBP, Method.CROWN, Method.ALPHA_CROWN, Method.EXACT)
    items = _certify(
        network,
        Dataset(x, y, "d", ""),
        norm,
        methods=methods,
        epsilon=0.05,
        exact_mode=ExactMode.DECIDE,
    )
    for item in items:
        assert item.upper is not None
        assert item.lower["alpha-crown"] >= item.lower["crown"] - 1e-9
        assert max(item.lower.values()) <= item.upper + 1e-5


@pytest.mark.parametrize("norm", ROUND)
def test_data_out_of_range_are_refused(network: Network, dataset: Dataset, norm: str) -> None:
    moved = Dataset(dataset.x + 5, dataset.y, "made", "")
    with pytest.raises(BoundsError, match="valid range"):
        certify_items(network, moved, CertifyOptions(0.1, norm=norm))


@pytest.mark.parametrize("norm", [Norm.ONE, Norm.TWO])
def test_an_input_outside_the_ball_is_no_counterexample(network: Network, norm: Norm) -> None:
    region = norm_ball(np.full(network.input_shape, 0.5, np.float32), 0.25, norm)
    runtime = OnnxRuntime(network)
    corner = region.upper.astype(np.float32)
    y = runtime.run(corner[np.newaxis])[0]
    always = robustness(int(y.argmin()), 3)
    assert always.holds_at(y)
    assert confirm(runtime, region, always, corner) is None
    assert confirm(runtime, region, always, np.full(network.input_shape, np.nan)) is None
    pole = np.full(network.input_shape, 0.5, np.float32)
    pole.flat[0] += 0.25
    beyond = pole.copy()
    beyond.flat[0] = np.nextafter(pole.flat[0], np.float32(1))
    assert confirm(runtime, region, always, beyond) is None
    if always.holds_at(runtime.run(pole[np.newaxis])[0]):
        assert confirm(runtime, region, always, pole) is not None


def test_a_ball_without_float32_inputs_reaches_no_margin(network: Network) -> None:
    center = np.full(network.input_shape, 0.75) + 2.0**-25
    region = norm_ball(center, 2.0**-24 * 1.0001, Norm.ONE)
    bracket = Bracket(Case(region, robustness(0, 3)))
    bracket.offer(Witness(network, OnnxRuntime(network)), center)
    assert bracket.upper == np.inf
    assert bracket.counterexample is None
