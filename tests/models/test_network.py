"""Networks, normalisation, graphs and parameter references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import InvalidInputError, Network, ShapeError, load_network
from models.graph import Graph, Node
from models.network import Normalization
from models.operators import Add, Concat, Constant, Expand, Input, LeakyRelu, Relu, Take
from models.parameters import MultiplyBy, Narrow, ParameterRef, Permute, Reciprocal, ReshapeTo
from tests.helpers.networks import cnn, mlp, resnet


def test_what_a_network_says_about_itself() -> None:
    network = load_network(cnn())
    assert (network.input_shape, network.output_shape, network.output_size) == (
        (1, 1, 6, 6),
        (1, 3),
        3,
    )
    assert (network.dtype, network.device) == (torch.float32, torch.device("cpu"))
    empty = Network(Graph((Node("x", Input(), (), (1, 3)),), "x"), {})
    assert (empty.dtype, empty.device) == (torch.float32, torch.device("cpu"))
    assert empty.to(torch.float64).dtype == torch.float64


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(4,\), the network takes \(1, 4\)"):
        load_network(mlp())(torch.zeros(2, 4))


def test_casting_leaves_the_original_alone() -> None:
    network = load_network(mlp())
    wide = network.to(torch.float64)
    assert (network.dtype, wide.dtype) == (torch.float32, torch.float64)
    x = torch.ones(2, 1, 4)
    torch.testing.assert_close(wide(x.double()).float(), network(x))


def test_parameters_are_replaced_by_name_and_shape() -> None:
    network = load_network(mlp())
    moved = network.with_parameters({"b3": network.parameters["b3"] + 1})
    x = torch.ones(1, 1, 4)
    torch.testing.assert_close(moved(x), network(x) + 1)
    with pytest.raises(InvalidInputError, match="no parameter 'nothing'"):
        network.with_parameters({"nothing": torch.zeros(3)})
    with pytest.raises(ShapeError, match=r"'b3' has shape \(3,\), the replacement \(2,\)"):
        network.with_parameters({"b3": torch.zeros(2)})


def test_outputs_are_differentiable_in_the_stored_tensors() -> None:
    network = load_network(resnet())
    leaves = {name: network.parameters[name].clone() for name in network.trainable}
    for leaf in leaves.values():
        leaf.requires_grad_()
    network.with_parameters(leaves)(torch.ones(2, 1, 1, 4, 4)).square().sum().backward()
    assert all(leaf.grad is not None for leaf in leaves.values())
    assert leaves["b1"].grad is not None
    assert bool(leaves["b1"].grad.abs().sum() > 0)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.25,)), ((0.5, 0.1), (0.25, 2.0))])
def test_normalisation_is_applied_to_raw_inputs(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    plain = load_network(cnn(channels=2))
    network = plain.with_normalization(Normalization(mean, std))
    assert network.input_shape == plain.input_shape
    x = torch.rand(3, 1, 2, 6, 6)
    spread = (-1, 1, 1)
    raw = (x - torch.tensor(mean).reshape(spread)) / torch.tensor(std).reshape(spread)
    torch.testing.assert_close(network(x), plain(raw))
    assert network.trainable == plain.trainable


def test_a_second_normalisation_is_refused() -> None:
    network = load_network(cnn()).with_normalization(Normalization((0.5,), (0.25,)))
    with pytest.raises(InvalidInputError, match="already normalises"):
        network.with_normalization(Normalization((0.5,), (0.25,)))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.25, 0.25), "as many of each"),
        ((), (), "as many of each"),
        ((float("nan"),), (1.0,), "every mean must be a finite number"),
        ((0.0,), (0.0,), "every std must be a finite number above 0"),
        ((0.0,), (-1.0,), "every std must be a finite number above 0"),
        ((0.0,), (float("inf"),), "every std must be a finite number above 0"),
    ],
)
def test_impossible_normalisations(
    mean: tuple[float, ...], std: tuple[float, ...], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Normalization(mean, std)


def test_numbers_that_fit_no_channel_axis() -> None:
    with pytest.raises(ShapeError, match="4 means and stds do not fit"):
        load_network(cnn()).with_normalization(Normalization((0.5,) * 4, (1.0,) * 4))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 3, 5, 5), (1, 3, 1, 1)), ((5, 5, 3), (1, 1, 3)), ((3, 4, 3), (3, 1, 1)), ((3,), (3,))],
)
def test_which_axis_holds_the_channels(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    mean, std = Normalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)).broadcast(shape)
    assert mean.shape == std.shape == expected
    assert mean.dtype == std.dtype == np.float32


X = Node("x", Input(), (), (1, 3))


@pytest.mark.parametrize(
    ("nodes", "output", "message"),
    [
        ((), "x", "starts with its input"),
        ((Node("r", Relu(), ("x",), (1, 3)), X), "r", "starts with its input"),
        ((X, Node("r", Relu(), ("z",), (1, 3))), "r", "before they exist"),
        ((X, Node("x", Relu(), ("x",), (1, 3))), "x", "two nodes are named 'x'"),
        ((X,), "y", "no node 'y'"),
    ],
)
def test_graphs_that_are_none(nodes: tuple[Node, ...], output: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Graph(nodes, output)


def test_what_a_graph_knows_about_its_nodes() -> None:
    graph = Graph(
        (
            X,
            Node("c", Constant(ParameterRef("c")), (), (1, 3)),
            Node("r", Relu(), ("x",), (1, 3)),
            Node("dead", Relu(), ("r",), (1, 3)),
            Node("both", Concat(0), ("c", "r"), (2, 3)),
        ),
        "both",
    )
    assert [node.name for node in graph.ancestors("both")] == ["x", "c", "r", "both"]
    assert [node.name for node in graph.activation_nodes] == ["x", "r", "dead", "both"]
    assert [node.name for node in graph.constant_nodes] == ["c"]
    assert graph.node("both").size == 6
    values = graph.evaluate(torch.full((2, 1, 3), -1.0), {"c": torch.ones(1, 3)})
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "x": (2, 1, 3),
        "c": (1, 1, 3),
        "r": (2, 1, 3),
        "dead": (2, 1, 3),
        "both": (2, 2, 3),
    }
    torch.testing.assert_close(values["both"][:, 0], torch.ones(2, 3))
    torch.testing.assert_close(values["both"][:, 1], torch.zeros(2, 3))


def test_parameter_steps_are_applied_in_order() -> None:
    stored = torch.tensor([[1.0, 2.0, 4.0], [5.0, 8.0, 10.0]])
    reference = (
        ParameterRef("w")
        .then(Permute((1, 0)))
        .then(ReshapeTo((6,)))
        .then(MultiplyBy(-2.0))
        .then(Reciprocal())
    )
    expected = -0.5 / torch.tensor([1.0, 5.0, 2.0, 8.0, 4.0, 10.0])
    torch.testing.assert_close(reference.resolve({"w": stored}), expected)
    assert ParameterRef("w").resolve({"w": stored}) is stored


def test_operators_behind_the_batch_axis() -> None:
    x = torch.tensor([[[1.0, -2.0, 3.0]], [[0.0, 1.0, -1.0]]])
    torch.testing.assert_close(LeakyRelu(0.5).forward([x], {}), torch.where(x < 0, x / 2, x))
    assert Expand((4, 2, 3)).forward([x], {}).shape == (2, 4, 2, 3)
    torch.testing.assert_close(Take(1, (2, 0, 2)).forward([x], {}), x[:, :, [2, 0, 2]])
    torch.testing.assert_close(Add((1.0, -2.0)).forward([x, x], {}), -x)


def test_a_reference_may_see_a_part_of_a_tensor() -> None:
    stored = torch.arange(12.0).reshape(1, 6, 2).requires_grad_()
    reference = ParameterRef("w").then(ReshapeTo((6, 2))).then(Narrow(0, 2, 3))
    seen = reference.resolve({"w": stored})
    assert seen.tolist() == [[4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]
    (gradient,) = torch.autograd.grad(seen.sum(), stored)
    assert gradient.flatten(1).sum(1).tolist() == [6.0]
    assert gradient[0, :, 0].tolist() == [0, 0, 1, 1, 1, 0]
