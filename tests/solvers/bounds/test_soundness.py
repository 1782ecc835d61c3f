"""Every method on random graphs: no value found by sampling or by descent is below its bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from models import operators as ops
from models.network import Network
from solvers.bounds import BoundOptions, Interval, Margins, MemoryBudget
from solvers.bounds.intermediate import undecided_mask
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.random_graphs import (
    GraphBuilder,
    networks,
    random_image_network,
    random_vector_network,
    relu_chain,
    seeds,
)
from tests.solvers.bounds.support import (
    WIDTHS,
    bound,
    check_sound,
    points_in,
    random_margins,
    random_region,
    uniform,
    values_at,
)

methods = pytest.mark.parametrize("method", BOUND_METHODS)
BACKWARD = [Method.CROWN_IBP, Method.FAST_LIN, Method.CROWN]


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Run on the processor, and on an accelerator where there is one."""
    name = str(request.param)
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device on this machine")
    return name


def moved(interval: Interval, device: str, dtype: torch.dtype = torch.float64) -> Interval:
    return Interval(interval.lower.to(device, dtype), interval.upper.to(device, dtype))


@methods
@settings(max_examples=60, derandomize=True)
@given(network=networks(), seed=seeds)
def test_bounds_hold_on_random_graphs(method: Method, network: Network, seed: int) -> None:
    region = random_region(network, seed, WIDTHS)
    margins = random_margins(network, region.batch, seed + 1)
    check_sound(network, region, margins, bound(network, region, margins, method), seed)


def larger_image(seed: int) -> Network:
    """Return convolutions whose windows stay small beside their maps, with a shortcut."""
    builder = GraphBuilder((1, 2, 9, 8), seed)
    groups = builder.pick([1, 2])
    kernel, offset = builder.normal(4, 2 // groups, 3, 3, scale=0.4), builder.normal(4)
    stride, dilation = builder.pick([(1, 1), (2, 1)]), builder.pick([(1, 1), (1, 2)])
    builder.add(ops.Convolution(kernel, offset, stride, (1, 1), dilation, groups))
    first = builder.add(builder.pick([ops.Relu(), ops.LeakyRelu(1.4), ops.Tanh()]))
    for _ in range(2):
        # Two in a row: windows that hang over the edge meet a second kernel and its bias.
        for size, padding in ((1, (0, 0)), (3, (1, 1))):
            kernel, bias = builder.normal(4, 4, size, size, scale=0.3), builder.normal(4)
            builder.add(ops.Convolution(kernel, bias, (1, 1), padding, (1, 1)))
        numbers = [builder.normal(4) for _ in range(3)]
        spread = builder.uniform(0.5, 2, 4)
        builder.add(ops.BatchNormalization(numbers[0], numbers[1], numbers[2], spread, 1e-5))
        builder.add(builder.pick([ops.Relu(), ops.Clip(-0.5, 0.5), ops.Sigmoid()]))
    builder.add(ops.Add((1.0, -0.5)), builder.last, first)
    builder.add(ops.Relu())
    builder.add(ops.Convolution(builder.normal(2, 4, 2, 3), None, (2, 2), (0, 1), (1, 1)))
    builder.add(ops.Relu())
    builder.add(ops.ReduceSum((2, 3), False))
    return builder.network()


@pytest.mark.parametrize("method", [*BACKWARD, Method.ALPHA_CROWN])
@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_on_larger_images(method: Method, seed: int) -> None:
    network = larger_image(seed)
    region = random_region(network, seed, (0.0, 0.05, 0.4))
    margins = random_margins(network, region.batch, seed + 1)
    found = bound(network, region, margins, method, BoundOptions(iterations=1))
    check_sound(network, region, margins, found, seed)


@pytest.mark.parametrize("seed", range(6))
def test_tightened_nodes_are_what_margins_of_that_node_give(seed: int) -> None:
    """Bounds of single values, whichever way they travel, equal those of whole maps."""
    network = larger_image(seed)
    region = random_region(network, seed, (0.1, 0.5))
    everything = random_margins(network, region.batch, seed)
    found = bound(network, region, everything, Method.CROWN).intermediate
    graph = network.graph
    for node in graph.nodes:
        if not isinstance(node.operator, ops.BatchNormalization):
            continue
        alone = Network(type(graph)(graph.ancestors(node.name), node.name), network.parameters)
        eye = torch.eye(node.size, dtype=torch.float64).expand(region.batch, -1, -1)
        both = Margins(torch.cat([eye, -eye], 1), eye.new_zeros(region.batch, 2 * node.size))
        crown = bound(alone, region, both, Method.CROWN)
        ends = crown.lower.reshape(region.batch, 2, *node.shape)
        # At its own output a network keeps what interval arithmetic says of the nodes before.
        plain = crown.intermediate[node.name]
        expected = plain.intersect(Interval(ends[:, 0], -ends[:, 1]))
        mask = undecided_mask(graph, node, found[node.name])
        for one, other in (
            (found[node.name].lower, expected.lower),
            (found[node.name].upper, expected.upper),
        ):
            torch.testing.assert_close(one[mask], other[mask], rtol=1e-9, atol=1e-9)


# --- corners ------------------------------------------------------------------------------------


def identity(_: int) -> Network:
    return GraphBuilder((1, 3)).network()


def constant(seed: int) -> Network:
    builder = GraphBuilder((1, 3), seed)
    builder.linear(3)
    builder.add(ops.Relu())
    builder.add(ops.Constant(builder.normal(1, 3)))
    return builder.network()


def constant_in_a_sum(seed: int) -> Network:
    builder = GraphBuilder((1, 3), seed)
    token = builder.add(ops.Constant(builder.normal(1, 3)))
    active = builder.add(ops.Relu(), token)
    builder.add(ops.Add((1.0, -2.0)), "x", active)
    builder.add(ops.Concat(1), builder.last, token, "x")
    builder.add(ops.Tanh())
    return builder.network()


def constant_in_front(seed: int) -> Network:
    """Return a network whose constants are computed before its first activation."""
    builder = GraphBuilder((1, 3), seed)
    token = builder.add(ops.Constant(builder.normal(1, 3)))
    shifted = builder.add(ops.Scale(offset=builder.normal(3)), token)
    builder.add(ops.Scale(builder.normal(3), builder.normal(3)), "x")
    builder.add(ops.Tanh())
    builder.add(ops.Add((1.0, 3.0)), builder.last, shifted)
    builder.linear(4)
    builder.add(ops.Relu())
    builder.linear(2)
    return builder.network()


def elementwise_only(seed: int) -> Network:
    """Return a network that maps boxes to boxes from end to end."""
    builder = GraphBuilder((1, 3), seed)
    builder.add(ops.Scale(builder.normal(3), builder.normal(3)))
    builder.add(ops.LeakyRelu(-0.5))
    builder.add(ops.Sigmoid())
    builder.add(ops.Reshape((3, 1)))
    return builder.network()


def output_in_the_middle(seed: int) -> Network:
    """Return a network with nodes behind its output, and a branch that leads nowhere."""
    builder = GraphBuilder((1, 3), seed)
    builder.linear(4)
    output = builder.add(ops.Relu())
    builder.linear(2)
    builder.add(ops.Relu())
    builder.linear(3, of="x")
    builder.add(ops.LeakyRelu(0.3))
    return builder.network(output)


def shared(seed: int) -> Network:
    """Return a diamond: one activation read by many nodes, and twice by one of them."""
    builder = GraphBuilder((1, 3), seed)
    builder.linear(4)
    top = builder.add(ops.Relu())
    left = builder.linear(4, of=top)
    right = builder.add(ops.Sigmoid(), top)
    both = builder.add(ops.Add((1.0, -1.0, 0.5, 0.5)), left, right, top, top)
    builder.add(ops.Concat(1), both, both, top)
    builder.add(ops.Clip(-0.3, 0.8))
    return builder.network()


def stacked_activations(seed: int) -> Network:
    """Return activations that read each other without a layer in between."""
    builder = GraphBuilder((1, 3), seed)
    builder.linear(5)
    for operator in (ops.Tanh(), ops.LeakyRelu(-0.4), ops.Relu(), ops.Clip(0.1, 0.6)):
        builder.add(operator)
    return builder.network()


def scalar_output(seed: int) -> Network:
    builder = GraphBuilder((3,), seed)
    builder.linear(4)
    builder.add(ops.Relu())
    builder.add(ops.ReduceSum((0,), False))
    return builder.network()


def dead_weights(seed: int) -> Network:
    """Return a network of zero weights: every pre-activation is exactly its bias, some 0."""
    network = relu_chain((3, 4, 4, 2), seed)
    zeros = {name: value * 0 for name, value in network.parameters.items()}
    return network.with_parameters(zeros)


CORNERS: dict[str, Callable[[int], Network]] = {
    maker.__name__: maker
    for maker in (
        identity,
        constant,
        constant_in_a_sum,
        constant_in_front,
        elementwise_only,
        output_in_the_middle,
        shared,
        stacked_activations,
        scalar_output,
        dead_weights,
    )
}


@methods
@pytest.mark.parametrize("kind", CORNERS)
def test_bounds_hold_on_unusual_graphs(kind: str, method: Method) -> None:
    for seed in range(3):
        network = CORNERS[kind](seed)
        region = random_region(network, seed, WIDTHS)
        margins = random_margins(network, region.batch, seed)
        check_sound(network, region, margins, bound(network, region, margins, method), seed)


@methods
def test_bounds_hold_where_pre_activations_touch_zero(method: Method) -> None:
    """Integer weights on integer boxes put many bounds at exactly 0."""
    for seed in range(5):
        network = relu_chain((2, 6, 6, 2), seed)
        rounded = {name: value.round() for name, value in network.parameters.items()}
        network = network.with_parameters(rounded)
        lower = uniform(seed, 4, 1, 2, low=-2, high=2).round()
        region = Interval(lower, lower + torch.tensor([0.0, 1.0, 2.0, 1e6]).reshape(4, 1, 1))
        margins = random_margins(network, 4, seed)
        check_sound(network, region, margins, bound(network, region, margins, method), seed)


@methods
def test_bounds_hold_on_ties_in_a_maximum(method: Method) -> None:
    builder = GraphBuilder((1, 1, 4, 4), 0)
    builder.add(ops.MaxPool((3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1)))
    builder.add(ops.MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)))
    network = builder.network()
    flat = torch.zeros(4, 1, 1, 4, 4, dtype=torch.float64)
    widths = torch.tensor([0.0, 1e-9, 1.0, 1e6], dtype=torch.float64).reshape(4, 1, 1, 1, 1)
    for shift in (-3.0, 0.0):
        region = Interval(flat + shift, flat + shift + widths)
        margins = random_margins(network, 4, 1)
        check_sound(network, region, margins, bound(network, region, margins, method))


@methods
def test_examples_do_not_touch_each_other(method: Method) -> None:
    """Regions with many and with no unstable neurons give the same alone and in a batch."""
    network = relu_chain((3, 10, 10, 2), 6)
    region = random_region(network, 6, (0.0, 3.0, 1e-9, 0.3, 1e6))
    margins = random_margins(network, region.batch, 6)
    together = bound(network, region, margins, method)
    for example in range(region.batch):
        part = slice(example, example + 1)
        alone = bound(network, region[part], margins[part], method)
        torch.testing.assert_close(alone.lower, together.lower[part], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", [Method.IBP, *BACKWARD])
@pytest.mark.parametrize("limit", [1, 3000, 40_000])
@pytest.mark.parametrize("maker", [random_vector_network, random_image_network])
def test_chunks_change_nothing(
    maker: Callable[[int, int], Network], limit: int, method: Method
) -> None:
    for seed in range(4):
        network = maker(seed, 7)
        region = random_region(network, seed, (0.1, 1.0, 0.0))
        margins = random_margins(network, region.batch, seed, rows=5)
        options = BoundOptions(memory=MemoryBudget(limit))
        whole = bound(network, region, margins, method)
        parts = bound(network, region, margins, method, options)
        torch.testing.assert_close(parts.lower, whole.lower, rtol=1e-12, atol=1e-12)
        for name, interval in whole.intermediate.items():
            found = parts.intermediate[name]
            torch.testing.assert_close(found.lower, interval.lower, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(found.upper, interval.upper, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("limit", [1, 3000, 40_000])
def test_optimised_bounds_stay_sound_in_little_memory(limit: int) -> None:
    network = relu_chain((4, 12, 12, 3), 8)
    region = random_region(network, 8, (0.1, 1.0, 0.0))
    margins = random_margins(network, 3, 8, rows=5)
    options = BoundOptions(iterations=5, memory=MemoryBudget(limit))
    found = bound(network, region, margins, Method.ALPHA_CROWN, options)
    check_sound(network, region, margins, found)
    start = bound(network, region, margins, Method.CROWN).lower
    assert (found.lower >= start - 1e-9).all()


# --- devices and dtypes -------------------------------------------------------------------------


@methods
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_devices_and_dtypes_agree(method: Method, dtype: torch.dtype, device: str) -> None:
    for number, kind in enumerate([shared, larger_image, stacked_activations]):
        reference = kind(number)
        region = random_region(reference, number, (0.0, 0.1, 0.5))
        margins = random_margins(reference, region.batch, number)
        expected = bound(reference, region, margins, method).lower
        network = reference.to(dtype, device)
        there = Margins(margins.matrix.to(device, dtype), margins.offset.to(device, dtype))
        found = bound(network, moved(region, device, dtype), there, method)
        assert found.lower.device.type == device
        assert found.lower.dtype == dtype
        assert all(end.lower.dtype == dtype for end in found.intermediate.values())
        # float32 rounds to 6e-8 of values up to about 50, over a few hundred terms.
        # A lower slope flips where rounding decides between areas that are equal, which moves a
        # bound; forward bounds, with one slope for all rows, show it.
        rough = 0.2 if method is Method.FORWARD else 5e-3
        slack = 1e-8 if dtype == torch.float64 else rough
        torch.testing.assert_close(found.lower.cpu().double(), expected, rtol=slack, atol=slack)


@methods
def test_sampled_values_respect_bounds_on_a_device(method: Method, device: str) -> None:
    network = random_image_network(12, 6).to(torch.float64, device)
    region = moved(random_region(network, 12, (0.0, 0.2, 1.0)), device)
    drawn = random_margins(network, 3, 12)
    margins = Margins(drawn.matrix.to(device), drawn.offset.to(device))
    check_sound(network, region, margins, bound(network, region, margins, method))


def test_the_check_itself_notices_a_bound_that_is_too_high() -> None:
    network = relu_chain((3, 6, 2), 9)
    region = random_region(network, 9, (0.5,))
    margins = random_margins(network, 1, 9)
    found = bound(network, region, margins, Method.CROWN)
    least: Tensor = values_at(network, margins, points_in(region, 60, 0)).amin(1)
    wrong = type(found)(least + 1e-3, found.intermediate)
    with pytest.raises(AssertionError, match="above a value"):
        check_sound(network, region, margins, wrong)
    shifted = {
        name: Interval(end.lower + 0.2, end.upper + 0.2) for name, end in found.intermediate.items()
    }
    with pytest.raises(AssertionError):
        check_sound(network, region, margins, type(found)(found.lower, shifted))
