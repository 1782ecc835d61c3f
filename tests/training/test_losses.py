"""Losses and regularizers: what they are worth, and their gradients against finite differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import operators as ops
from models.network import Network
from solvers.bounds import Interval, Scene, bound_margins
from solvers.bounds.observed import minimising_corner
from solvers.methods import Method
from tests.helpers.random_graphs import GraphBuilder, relu_chain
from tests.helpers.training import batch_of, blobs, options, small_network, trained_parameters
from tests.solvers.bounds.test_gradients import check_gradient
from training import FeasibilityForm, TrainingMethod, UntrainableError
from training.losses import Batch, step_loss
from training.regions import box_around, label_margins
from training.regularizers import feasibility, slack
from training.schedules import Stage
from training.worst_case import WorstCase, worst_case

METHODS = list(TrainingMethod)
BOUNDED = [TrainingMethod.IBP, TrainingMethod.CROWN_IBP, TrainingMethod.FAST_LIN]
STAGE = Stage(epsilon=0.1, kappa=0.7, feasibility=0.3, slack=0.2)


def wide(name: str = "mlp:8,6", seed: int = 0) -> Network:
    return small_network(name, seed=seed).to(torch.float64)


def batch(network: Network, count: int = 6) -> Batch:
    x, labels = batch_of(blobs(), network, count)
    return Batch(x, labels, torch.Generator().manual_seed(5))


def bounded(
    network: Network, method: TrainingMethod, epsilon: float = 0.1, *, fusion: bool = True
) -> tuple[WorstCase, Batch]:
    inputs = batch(network)
    scene = Scene(network, box_around(inputs.x, epsilon, (0.0, 1.0)))
    margins = label_margins(inputs.labels, network.output_size, inputs.x.dtype)
    return worst_case(method, scene, margins, loss_fusion=fusion), inputs


# --- gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", list(FeasibilityForm))
@pytest.mark.parametrize("part", ["total", "clean", "feasibility", "slack", "robust"])
def test_gradients_of_every_part(method: TrainingMethod, form: FeasibilityForm, part: str) -> None:
    network = wide(seed=3)
    settings = options(method, feasibility_form=form, feasibility_share=1.0)
    names = sorted(network.trainable)

    def value(tensors: list[Tensor]) -> Tensor:
        changed = network.with_parameters(dict(zip(names, tensors, strict=True)))
        loss = step_loss(changed, batch(network), STAGE, settings)
        return loss.total if part == "total" else loss.parts[part]

    if part == "robust" and method is TrainingMethod.STANDARD:
        part = "total"  # it has no robust loss
    check_gradient(value, [network.parameters[name] for name in names], seed=1)


@pytest.mark.parametrize("name", ["dm-small", "cnn7"])
def test_gradients_through_convolutions_and_normalisations(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = image_network(normalised=name == "cnn7")
    names = [n for n in sorted(network.trainable) if "running" not in n]

    def value(tensors: list[Tensor]) -> Tensor:
        changed = network.with_parameters(dict(zip(names, tensors, strict=True)))
        return step_loss(changed, batch(network), STAGE, options(feasibility_share=0.5)).total

    check_gradient(value, [network.parameters[name] for name in names], seed=2)


def image_network(*, normalised: bool) -> Network:
    """Return a small convolutional network, with BatchNormalization or without."""
    builder = GraphBuilder((1, 1, 6, 6), 1)
    kernel = builder.normal(3, 1, 3, 3, scale=0.5)
    builder.add(ops.Convolution(kernel, builder.normal(3), (2, 2), (1, 1), (1, 1)))
    if normalised:
        scale, shift, mean = builder.uniform(0.5, 2, 3), builder.normal(3), builder.normal(3)
        variance = builder.uniform(0.5, 2, 3)
        builder.add(ops.BatchNormalization(scale, shift, mean, variance, 1e-5))
        statistics = {mean.name, variance.name}
    else:
        statistics = set()
    builder.add(ops.Relu())
    builder.add(ops.Reshape((1, 27)))
    builder.linear(3)
    network = builder.network()
    return replace(network, trainable=frozenset(network.parameters) - statistics)


# --- worst case ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "bound", "fusion"),
    [
        (TrainingMethod.IBP, Method.IBP, True),
        (TrainingMethod.CROWN_IBP, Method.CROWN_IBP, False),
        (TrainingMethod.FAST_LIN, Method.FAST_LIN, True),
    ],
)
def test_the_loss_is_that_of_certifications_bounds(
    method: TrainingMethod, bound: Method, fusion: bool
) -> None:
    network = wide(seed=1)
    found, inputs = bounded(network, method, fusion=fusion)
    region = box_around(inputs.x, 0.1, (0.0, 1.0))
    margins = label_margins(inputs.labels, 3, torch.float64)
    lower = bound_margins(Scene(network, region), margins, bound).lower
    logits = torch.cat([torch.zeros(len(lower), 1, dtype=torch.float64), -lower], 1)
    expected = functional.cross_entropy(
        logits, torch.zeros(len(lower), dtype=torch.long), reduction="none"
    )
    torch.testing.assert_close(found.loss, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", BOUNDED)
@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_no_input_of_the_region_has_a_larger_loss(
    method: TrainingMethod, fusion: bool, seed: int
) -> None:
    network = wide(seed=seed)
    found, inputs = bounded(network, method, fusion=fusion)
    region = box_around(inputs.x, 0.1, (0.0, 1.0))
    source = torch.Generator().manual_seed(seed)
    for _ in range(40):
        place = torch.rand(region.lower.shape, generator=source, dtype=torch.float64).round()
        x = torch.lerp(region.lower, region.upper, place)
        loss = functional.cross_entropy(network(x).flatten(1), inputs.labels, reduction="none")
        assert (loss <= found.loss + 1e-9).all()


def test_fused_losses_do_not_overflow() -> None:
    network = wide(seed=0)
    huge = {name: 300 * value for name, value in network.parameters.items()}
    found, _ = bounded(network.with_parameters(huge).to(torch.float32), TrainingMethod.CROWN_IBP)
    assert found.loss.isfinite().all()
    assert (found.loss > 100).all()


def test_a_point_has_the_clean_loss() -> None:
    network = wide(seed=2)
    for method in BOUNDED:
        found, inputs = bounded(network, method, epsilon=0.0)
        expected = functional.cross_entropy(
            network(inputs.x).flatten(1), inputs.labels, reduction="none"
        )
        torch.testing.assert_close(found.loss, expected, rtol=1e-9, atol=1e-9)


# --- feasibility --------------------------------------------------------------------------------


def exact_network() -> Network:
    """Return a network all of whose ReLUs are active on [0, 1], so that relaxations are exact."""
    network = wide(seed=4)
    weights = {k: v.abs() if k.startswith("weight") else v for k, v in network.parameters.items()}
    biases = {k: v + 3 if k.startswith("bias") else v for k, v in weights.items()}
    return network.with_parameters(biases)


@pytest.mark.parametrize("method", BOUNDED)
@pytest.mark.parametrize("form", list(FeasibilityForm))
def test_feasibility_is_zero_where_relaxations_are_exact(
    method: TrainingMethod, form: FeasibilityForm
) -> None:
    found, _ = bounded(exact_network(), method)
    value = float(feasibility(found.row(6), form))
    if method is TrainingMethod.IBP and form is FeasibilityForm.OBJECTIVE:
        # Intervals forget how neurons belong together, which is a loss of its own.
        assert value > 0
    else:
        assert value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", BOUNDED)
@pytest.mark.parametrize("form", list(FeasibilityForm))
@pytest.mark.parametrize("fusion", [True, False])
def test_feasibility_is_positive_elsewhere(
    method: TrainingMethod, form: FeasibilityForm, fusion: bool
) -> None:
    found, _ = bounded(wide(seed=1), method, fusion=fusion)
    assert any(bounds.unstable.any() for bounds in found.intermediate.values())
    assert float(feasibility(found.row(6), form)) > 1e-3


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("method", BOUNDED)
def test_the_objective_form_is_the_value_at_the_minimiser_less_the_bound(
    method: TrainingMethod, fusion: bool
) -> None:
    network = wide(seed=1)
    found, inputs = bounded(network, method, fusion=fusion)
    row = found.row(6)
    # The pass ends behind the flattening, which changes no value.
    x = minimising_corner(row.scene, row.observed).reshape(inputs.x.shape)
    assert torch.equal(x, x.clamp(0, 1))
    assert ((x - inputs.x).abs() <= 0.1 + 1e-12).all()
    value = (row.matrix * network(x).flatten(1)).sum(1) - row.offset
    expected = ((value - row.lower) / row.weight).mean()
    reached = feasibility(row, FeasibilityForm.OBJECTIVE)
    torch.testing.assert_close(reached, expected, rtol=1e-9, atol=1e-9)


def test_the_row_without_fusion_is_the_worst_margin() -> None:
    network = wide(seed=1)
    for method in (TrainingMethod.IBP, TrainingMethod.FAST_LIN):
        found, inputs = bounded(network, method)
        region = box_around(inputs.x, 0.1, (0.0, 1.0))
        margins = label_margins(inputs.labels, 3, torch.float64)
        lower = bound_margins(Scene(network, region), margins, Method(method)).lower
        row = found.row(6)
        torch.testing.assert_close(row.lower, lower.amin(1), rtol=1e-9, atol=1e-9)
        picked = margins.matrix[torch.arange(6), lower.argmin(1)]
        assert torch.equal(row.matrix, picked)


@pytest.mark.parametrize("method", [*BOUNDED, TrainingMethod.STANDARD])
@pytest.mark.parametrize("form", list(FeasibilityForm))
def test_a_share_of_the_batch_is_its_first_inputs(
    method: TrainingMethod, form: FeasibilityForm
) -> None:
    network = wide(seed=1)
    found, inputs = bounded(network, method)
    region = box_around(inputs.x[:2], 0.1, (0.0, 1.0))
    margins = label_margins(inputs.labels[:2], 3, torch.float64)
    alone = worst_case(method, Scene(network, region), margins)
    part, whole = feasibility(found.row(2), form), feasibility(alone.row(2), form)
    torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-9)


def by_hand(network: Network, region: Interval, row: Tensor) -> float:
    """Compute d of a network with one hidden layer, written out for one region."""
    weight, bias = network.parameters["p0"], network.parameters["p1"]
    output = network.parameters["p2"]
    lower, upper = region.lower.flatten(), region.upper.flatten()
    low = weight.clamp(min=0) @ lower + weight.clamp(max=0) @ upper + bias
    high = weight.clamp(min=0) @ upper + weight.clamp(max=0) @ lower + bias
    behind = row @ output
    slopes = []
    for j in range(len(bias)):
        if low[j] >= 0 or high[j] <= 0:
            slopes.append(float(low[j] >= 0))
        elif behind[j] >= 0:
            slopes.append(float(high[j] > -low[j]))
        else:
            slopes.append(float(high[j] / (high[j] - low[j])))
    front = (behind * torch.tensor(slopes, dtype=torch.float64)) @ weight
    x = torch.where(front >= 0, lower, upper)
    z = weight @ x + bias
    distances = []
    for j in range(len(bias)):
        if low[j] < 0 < high[j]:
            offset = 0.0 if behind[j] >= 0 else -slopes[j] * float(low[j])
            distances.append(abs(slopes[j] * float(z[j]) + offset - max(0.0, float(z[j]))))
    return sum(distances) / len(distances) if distances else 0.0


@pytest.mark.parametrize("seed", range(6))
def test_the_distance_form_is_what_the_definition_says(seed: int) -> None:
    network = relu_chain((3, 7, 2), seed)
    center = torch.full((1, 1, 3), 0.4, dtype=torch.float64)
    region = box_around(center, 0.5, None)
    margins = label_margins(torch.tensor([0]), 2, torch.float64)
    found = worst_case(TrainingMethod.IBP, Scene(network, region), margins)
    value = float(feasibility(found.row(1), FeasibilityForm.DISTANCE))
    assert value == pytest.approx(by_hand(network, region, margins.matrix[0, 0]), abs=1e-9)


# --- slack --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", BOUNDED)
def test_slack_is_the_mean_height_of_the_chords(method: TrainingMethod) -> None:
    network = wide(seed=1)
    found, _ = bounded(network, method)
    expected = 0.0
    for node in network.graph.nodes:
        if not isinstance(node.operator, ops.Relu):
            continue
        bounds = found.intermediate[node.inputs[0]]
        for lower, upper in zip(bounds.lower.flatten(1), bounds.upper.flatten(1), strict=True):
            heights = [
                -high * low / (high - low)
                for low, high in zip(lower.tolist(), upper.tolist(), strict=True)
                if low < 0 < high
            ]
            expected += sum(heights) / len(heights) / len(bounds.lower) if heights else 0.0
    assert expected > 0
    assert float(slack(network, found)) == pytest.approx(expected, abs=1e-9)


def test_slack_is_zero_where_neurons_are_stable() -> None:
    network = exact_network()
    assert float(slack(network, bounded(network, TrainingMethod.IBP)[0])) == 0


@pytest.mark.parametrize("slope", [0.2, 1.5])
def test_slack_of_a_leaky_relu_is_smaller_by_its_slope(slope: float) -> None:
    def network_with(activation: ops.Operator) -> Network:
        builder = GraphBuilder((1, 3), 1)
        builder.linear(5)
        builder.add(activation)
        builder.linear(2)
        return builder.network()

    region = box_around(torch.zeros(2, 1, 3, dtype=torch.float64), 1.0, None)
    margins = label_margins(torch.tensor([0, 1]), 2, torch.float64)

    def value(network: Network) -> float:
        scene = Scene(network, region)
        return float(slack(network, worst_case(TrainingMethod.IBP, scene, margins)))

    plain, leaky = value(network_with(ops.Relu())), value(network_with(ops.LeakyRelu(slope)))
    assert plain > 0
    assert leaky == pytest.approx(abs(1 - slope) * plain, rel=1e-9)


def test_without_a_relu_there_is_no_slack() -> None:
    builder = GraphBuilder((1, 3), 1)
    builder.linear(4)
    builder.add(ops.Sigmoid())
    builder.linear(2)
    network = builder.network()
    region = box_around(torch.zeros(1, 1, 3, dtype=torch.float64), 0.5, None)
    margins = label_margins(torch.tensor([0]), 2, torch.float64)
    found = worst_case(TrainingMethod.IBP, Scene(network, region), margins)
    with pytest.raises(UntrainableError, match="no ReLU"):
        slack(network, found)
    # The other regularizer knows sigmoids too.
    assert float(feasibility(found.row(1), FeasibilityForm.DISTANCE)) > 0


# --- the sum ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_total_is_the_weighted_sum(method: TrainingMethod) -> None:
    network = wide()
    loss = step_loss(network, batch(network), STAGE, options(method))
    parts = {name: float(value) for name, value in loss.parts.items()}
    kappa = 0.0 if method is TrainingMethod.STANDARD else STAGE.kappa
    expected = (1 - kappa) * parts["clean"] + kappa * parts.get("robust", 0.0)
    expected += STAGE.feasibility * parts["feasibility"] + STAGE.slack * parts["slack"]
    assert float(loss.total) == pytest.approx(expected, rel=1e-9)
    assert all(math.isfinite(value) for value in parts.values())


@pytest.mark.parametrize("method", METHODS)
def test_before_the_ramp_only_the_clean_loss_counts(method: TrainingMethod) -> None:
    network = wide()
    loss = step_loss(network, batch(network), Stage(0.0, 0.0, 0.0, 0.0), options(method))
    assert set(loss.parts) == {"clean"}


@pytest.mark.parametrize("method", [TrainingMethod.SABR, TrainingMethod.MTL_IBP])
def test_mixtures_lie_between_attack_and_intervals(method: TrainingMethod) -> None:
    network = wide(seed=1)
    stage = Stage(0.1, 1.0, 0.0, 0.0)

    def robust(kind: TrainingMethod, **adversary: float) -> float:
        settings = options(kind)
        settings = replace(settings, adversary=replace(settings.adversary, **adversary))
        return float(step_loss(network, batch(network), stage, settings).parts["robust"])

    attack, intervals = robust(TrainingMethod.PGD), robust(TrainingMethod.IBP)
    assert attack < intervals
    share = {"box_share": 0.5, "mixture": 0.5}
    assert attack < robust(method, **share) < intervals
    # At either end a mixture is one of the two.
    assert robust(TrainingMethod.MTL_IBP, mixture=1.0) == pytest.approx(intervals)
    assert robust(TrainingMethod.MTL_IBP, mixture=0.0) == pytest.approx(attack)
    assert robust(TrainingMethod.SABR, box_share=1.0) == pytest.approx(intervals)


def test_gradients_reach_every_parameter() -> None:
    network = small_network()
    leaves = trained_parameters(network)
    loss = step_loss(network.with_parameters(leaves), batch(network), STAGE, options())
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad is not None and leaf.grad.abs().max() > 0 for leaf in leaves.values())
