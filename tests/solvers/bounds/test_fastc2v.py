"""Passes with cuts: valid lines, never worse than CROWN, tighter where it counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor

from models.graph import Node
from models.network import Network
from solvers.bounds import BoundOptions, MemoryBudget
from solvers.bounds.alpha import optimised
from solvers.bounds.backward import Scene
from solvers.bounds.cut_passes import RowSlopes, Tightening, tightened_rows
from solvers.bounds.fastc2v import Effort, FastC2V
from solvers.bounds.interval import Interval, boxes_to_interval
from solvers.bounds.patches import unit_patches
from solvers.bounds.rules import Slopes
from solvers.bounds.tightened import Cuts, Fields, separate
from solvers.budget import Budget
from solvers.convex.cuts import Neurons
from solvers.convex.cuts import separate as separate_sparse
from solvers.ladder import CaseBatch, LadderStep
from solvers.methods import Method
from solvers.problem import Case
from tests.solvers.bounds.support import uniform
from tests.solvers.convex.support import (
    case_of,
    convolutional,
    dense,
    least_sample,
    residual,
)

ROUNDING = 1e-9


def _fields(seed: int, batch: int = 3, pairs: int = 4, inputs: int = 6) -> Fields:
    center = uniform(seed, batch, 1, inputs)
    radius = uniform(seed + 1, batch, 1, inputs, low=-0.2).clamp(min=0)
    weight = uniform(seed + 2, batch, pairs, inputs)
    bias = -(weight * center).sum(-1) + 0.2 * uniform(seed + 3, batch, pairs)
    share = uniform(seed + 4, batch, 1, inputs)
    return Fields(weight, bias, center - radius, center + radius, center + share * radius)


def _corners(fields: Fields) -> Tensor:
    """Return every corner of each example's box, shape `(batch, corners, inputs)`."""
    inputs = fields.lower.shape[-1]
    bits = torch.arange(2**inputs).unsqueeze(-1) // 2 ** torch.arange(inputs) % 2
    return torch.where(bits.bool(), fields.upper, fields.lower)


@pytest.mark.parametrize("seed", range(0, 100, 10))
def test_lines_are_valid_at_every_corner_and_touch_one(seed: int) -> None:
    fields = _fields(seed)
    lines, offset, right = separate(fields)
    corners = _corners(fields)
    value = (corners @ fields.weight.transpose(1, 2) + fields.bias.unsqueeze(1)).clamp(min=0)
    slack = corners @ lines.transpose(1, 2) + offset.unsqueeze(1) - value
    found = right.isfinite().unsqueeze(1).expand_as(slack)
    assert found.any()
    assert (slack[found] >= 0).all()
    assert (slack.amin(1)[right.isfinite()] <= 1e-12).all()


@pytest.mark.parametrize("seed", range(0, 60, 10))
def test_lines_are_about_as_low_as_the_most_violated_ones(seed: int) -> None:
    fields = _fields(seed, inputs=30)
    _, _, right = separate(fields)
    for example in range(fields.weight.shape[0]):
        weight = fields.weight[example].numpy()
        ends = (fields.lower[example, 0].numpy(), fields.upper[example, 0].numpy())
        neurons = Neurons(sp.csr_array(weight), fields.bias[example].numpy(), *ends)
        point = fields.point[example, 0].numpy()
        cuts = separate_sparse(neurons, point, np.full(len(weight), 1e3))
        exact = cuts.coefficients @ point + cuts.offset
        assert (right[example, cuts.neurons].numpy() >= exact - ROUNDING).all()
        assert (right[example, cuts.neurons].numpy() <= exact + 0.02 * (1 + np.abs(exact))).all()


def test_infinite_boxes_and_stable_neurons_have_no_line() -> None:
    fields = _fields(1)
    wide = Fields(fields.weight, fields.bias, fields.lower - torch.inf, fields.upper, fields.point)
    always = Fields(fields.weight, fields.bias + 100, fields.lower, fields.upper, fields.point)
    never = Fields(fields.weight, fields.bias - 100, fields.lower, fields.upper, fields.point)
    for part in (wide, always, never):
        lines, offset, right = separate(part)
        assert torch.isposinf(right).all()
        assert not lines.any()
        assert not offset.any()


def test_windows_are_summed_like_whole_maps() -> None:
    indices = torch.tensor([[0, 5, 17, 31], [3, 3, 16, 2]])
    patches = unit_patches(indices, (1, 2, 4, 4), uniform(0, 1))
    amounts = uniform(1, 2, 4)
    factors = amounts.reshape(2, 4, 1, 1, 1)
    weighted = patches.with_values(patches.values * factors)
    torch.testing.assert_close(weighted.summed(), weighted.dense().sum(1))
    cuts = Cuts(indices, torch.ones(2, 4), uniform(2, 2, 4), (("x", patches),))
    (total,), constant = cuts.crossed(amounts)
    torch.testing.assert_close(total, weighted.dense().sum(1))
    torch.testing.assert_close(constant, (amounts * cuts.offset).sum(1))


def _steps(
    network: Network, cases: list[Case], options: BoundOptions | None = None
) -> tuple[LadderStep, LadderStep]:
    batch = CaseBatch(network, cases)
    chosen = options or BoundOptions()
    crown = batch.bound(Method.CROWN, options=chosen)
    return crown, batch.bound(
        Method.FASTC2V, options=chosen, known=crown.intermediate, budget=Budget()
    )


@pytest.mark.parametrize("maker", [dense, convolutional, residual])
def test_never_worse_than_crown_and_never_above_a_sample(maker: Callable[[int], Network]) -> None:
    for seed in range(4):
        network = maker(seed)
        cases = [case_of(network, seed, width) for width in (0.0, 0.05, 0.3, 1.0)]
        crown, tight = _steps(network, cases)
        for at, case in enumerate(cases):
            assert (tight.clause_lower[at] >= crown.clause_lower[at]).all()
            assert (tight.clause_lower[at] <= least_sample(network, case) + ROUNDING).all()


def test_cuts_tighten_margins_and_hidden_layers() -> None:
    network = dense(3, (6, 24, 24, 24, 3))
    widths = (0.12, 0.2, 0.3, 0.45)
    cases = [case_of(network, seed, width) for seed in range(4) for width in widths]
    crown, tight = _steps(network, cases)
    gains = [tight.lower(at) - crown.lower(at) for at in range(len(cases))]
    assert max(gains) > 0.05
    sums = [
        {name: float((i.upper - i.lower).sum()) for name, i in step.intermediate.items()}
        for step in (crown, tight)
    ]
    assert all(sums[1][name] <= width + ROUNDING for name, width in sums[0].items())
    assert any(sums[1][name] < width - 1e-3 for name, width in sums[0].items())


def test_hidden_bounds_hold_over_samples() -> None:
    network = dense(4, (5, 16, 16, 16, 3))
    cases = [case_of(network, seed, 0.15) for seed in range(4)]
    _, tight = _steps(network, cases)
    rng = np.random.default_rng(0)
    for at, case in enumerate(cases):
        share = rng.random((500, *network.input_shape))
        x = case.region.lower + share * (case.region.upper - case.region.lower)
        values = network.graph.evaluate(torch.from_numpy(x), network.parameters)
        for name, (lower, upper) in tight.node_bounds(at).items():
            assert (values[name].numpy() >= lower - ROUNDING).all()
            assert (values[name].numpy() <= upper + ROUNDING).all()


def _inside(network: Network, cases: list[Case]) -> tuple[LadderStep, LadderStep]:
    """Return what CROWN proves, and what cuts inside for a search prove on top of it."""
    batch = CaseBatch(network, cases)
    crown = batch.bound(Method.CROWN, options=BoundOptions())
    options = BoundOptions(cuts_inside=True)
    return crown, batch.bound(Method.FASTC2V, options=options, known=crown.intermediate)


@pytest.mark.parametrize("maker", [dense, convolutional, residual])
def test_cuts_inside_for_a_search_hold_over_samples(maker: Callable[[int], Network]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(4):
        network = maker(seed)
        cases = [case_of(network, seed, width) for width in (0.1, 0.5, 1.5)]
        crown, tight = _inside(network, cases)
        for at, case in enumerate(cases):
            assert (tight.clause_lower[at] >= crown.clause_lower[at]).all()
            assert (tight.clause_lower[at] <= least_sample(network, case) + ROUNDING).all()
            share = rng.random((300, *network.input_shape))
            x = case.region.lower + share * (case.region.upper - case.region.lower)
            values = network.graph.evaluate(torch.from_numpy(x), network.parameters)
            for name, (lower, upper) in tight.node_bounds(at).items():
                assert (values[name].numpy() >= lower - ROUNDING).all()
                assert (values[name].numpy() <= upper + ROUNDING).all()


def test_cuts_inside_serve_a_search_where_margins_are_out_of_reach() -> None:
    network = dense(3, (6, 24, 24, 24, 3))
    cases = [case_of(network, seed, 1.5) for seed in range(3)]
    (_, plain), (_, tight) = _steps(network, cases), _inside(network, cases)

    def width(step: LadderStep) -> float:
        return sum(float((i.upper - i.lower).sum()) for i in step.intermediate.values())

    assert width(tight) < 0.97 * width(plain)


def test_layers_behind_one_that_gained_too_little_are_left_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = dense(3, (6, 24, 24, 24, 3))
    cases = [case_of(network, 1, 0.5)]
    refined: list[str] = []
    plain = FastC2V._refined

    def noted(
        self: FastC2V, node: Node, current: Interval, bounds: Mapping[str, Interval]
    ) -> Interval:
        refined.append(node.name)
        return plain(self, node, current, bounds)

    monkeypatch.setattr(FastC2V, "_refined", noted)
    counts = []
    for worth in (0.999, 0.0):
        refined.clear()
        effort = Effort(reach=np.inf, worth=worth)
        monkeypatch.setattr(Effort, "inside_first", lambda effort=effort: effort)
        _inside(network, cases)
        counts.append(len(refined))
    assert counts == [2, 1]


def test_memory_changes_nothing_but_pieces() -> None:
    network = dense(5, (4, 16, 16, 3))
    cases = [case_of(network, seed, 0.2) for seed in range(5)]
    _, whole = _steps(network, cases)
    _, pieces = _steps(network, cases, BoundOptions(memory=MemoryBudget(20_000)))
    for one, other in zip(whole.clause_lower, pieces.clause_lower, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_a_budget_that_is_spent_leaves_crown() -> None:
    network = dense(6)
    cases = [case_of(network, 6)]
    batch = CaseBatch(network, cases)
    crown = batch.bound(Method.CROWN, options=BoundOptions())
    spent = batch.bound(
        Method.FASTC2V,
        options=BoundOptions(),
        known=crown.intermediate,
        budget=Budget.of_seconds(0.0),
    )
    np.testing.assert_allclose(spent.clause_lower[0], crown.clause_lower[0], atol=ROUNDING)


def _over_alpha(
    network: Network, cases: list[Case], options: BoundOptions | None = None
) -> tuple[LadderStep, LadderStep]:
    batch, chosen = CaseBatch(network, cases), options or BoundOptions(iterations=8)
    known = batch.bound(Method.CROWN, options=chosen).intermediate
    alpha = batch.bound(Method.ALPHA_CROWN, options=chosen, known=known)
    return alpha, batch.bound(Method.ALPHA_FASTC2V, options=chosen, known=known)


@pytest.mark.parametrize("maker", [dense, convolutional, residual])
def test_cuts_over_optimised_slopes_are_never_worse_than_those(
    maker: Callable[[int], Network],
) -> None:
    for seed in range(3):
        network = maker(seed)
        cases = [case_of(network, seed, width) for width in (0.0, 0.05, 0.3, 1.0)]
        alpha, tight = _over_alpha(network, cases)
        for at, case in enumerate(cases):
            assert (tight.clause_lower[at] >= alpha.clause_lower[at]).all()
            assert (tight.clause_lower[at] <= least_sample(network, case) + ROUNDING).all()


@pytest.mark.parametrize("shared", [False, True])
def test_cuts_tighten_what_optimised_slopes_prove(shared: bool) -> None:
    network = dense(3, (6, 24, 24, 24, 3))
    cases = [case_of(network, seed, width) for seed in range(3) for width in (0.12, 0.2, 0.3)]
    alpha, tight = _over_alpha(network, cases, BoundOptions(iterations=8, share_slopes=shared))
    gains = [tight.lower(at) - alpha.lower(at) for at in range(len(cases))]
    assert min(gains) >= 0
    assert max(gains) > 0.03


@pytest.mark.parametrize("memory", [None, MemoryBudget(20_000)])
def test_the_first_pass_goes_along_the_best_slopes(memory: MemoryBudget | None) -> None:
    network = dense(7, (5, 16, 16, 4))
    cases = [case_of(network, seed, 0.4) for seed in range(3)]
    bounds = CaseBatch(network, cases).bound(Method.CROWN, options=BoundOptions()).intermediate
    regions = boxes_to_interval([case.region for case in cases], network.dtype, network.device)
    scene = Scene(network, regions)
    matrix, offset = uniform(0, 3, 6, 4), uniform(1, 3, 6)
    options = BoundOptions(iterations=12, optimise_intermediate=False, memory=memory)
    shaped = matrix.reshape(3, 6, *network.output_shape)
    found = optimised(scene, (shaped, offset), bounds, options, Budget(), keep_alphas=True)
    assert found.alphas
    index = torch.tensor([[4, 0], [5, 1], [2, 2]])
    at = torch.arange(3).unsqueeze(-1)
    again, _ = tightened_rows(
        scene,
        {network.graph.output: shaped[at, index]},
        -offset[at, index],
        found.bounds,
        slopes=RowSlopes(Slopes(), found.alphas).rows(index),
        tightening=Tightening(rounds=0),
        budget=Budget(),
    )
    torch.testing.assert_close(again, found.lower[at, index], rtol=0, atol=1e-9)
    plain = optimised(scene, (shaped, offset), bounds, options, Budget())
    assert not plain.alphas
    torch.testing.assert_close(plain.lower, found.lower, rtol=0, atol=0)
