"""The independent runtime: it runs the file, not the import."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import ModelImportError, Network, OnnxRuntime, ShapeError, load_network
from models.fold import fold_affine
from models.graph import Graph, Node
from models.network import Normalization
from models.operators import Input
from tests.helpers.agreement import ort_outputs, random_inputs
from tests.helpers.networks import cnn, mlp, model, node


@pytest.mark.parametrize("batch", [1, "N"])
def test_batches_give_what_single_inputs_give(batch: int | str) -> None:
    network = load_network(cnn(batch=batch))
    x = random_inputs(network.input_shape, count=7)
    y = OnnxRuntime(network).run(x)
    assert (y.shape, y.dtype) == ((7, 3), np.float32)
    np.testing.assert_allclose(y, ort_outputs(network.source, x), atol=1e-5)


def test_a_fixed_batch_of_two_is_one_input() -> None:
    network = load_network(mlp((4, 3), batch=2))
    x = random_inputs((2, 4), count=3)
    y = OnnxRuntime(network).run(x)
    assert y.shape == (3, 6)
    np.testing.assert_allclose(y, ort_outputs(network.source, x), atol=1e-5)


def test_an_open_batch_that_the_graph_cannot_keep() -> None:
    """A reshape to a fixed size fails for two inputs at once; they are run one by one then."""
    nodes = [node("Reshape", ["x", "s"], ["r"]), node("Neg", ["r"], ["y"])]
    data = model(nodes, shape=("N", 4), weights={"s": np.asarray([2, 2], np.int64)})
    network = load_network(data)
    x = random_inputs((1, 4), count=5)
    np.testing.assert_allclose(OnnxRuntime(network).run(x), -x.reshape(5, -1))


def test_an_open_batch_whose_inputs_the_graph_mixes() -> None:
    """The mean over the batch axis is an identity for one input, but not for several."""
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[0]),
        node("Sub", ["x", "m"], ["d"]),
        node("Add", ["d", "x"], ["y"]),
    ]
    network = load_network(model(nodes, shape=("N", 4)))
    x = random_inputs((1, 4), count=5)
    np.testing.assert_allclose(OnnxRuntime(network).run(x), x.reshape(5, -1), atol=1e-6)


def test_no_inputs_give_no_outputs() -> None:
    y = OnnxRuntime(load_network(mlp())).run(np.zeros((0, 1, 4), np.float32))
    assert (y.shape, y.dtype) == ((0, 3), np.float32)


def test_batches_longer_than_one_run() -> None:
    network = load_network(mlp(batch="N"))
    x = random_inputs((1, 4), count=150)
    y = OnnxRuntime(network).run(x)
    np.testing.assert_allclose(y, ort_outputs(network.source, x), atol=1e-5)


def test_equal_inputs_do_not_hide_that_the_graph_mixes_them() -> None:
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[0]),
        node("Sub", ["x", "m"], ["d"]),
        node("Add", ["d", "x"], ["y"]),
    ]
    network = load_network(model(nodes, shape=("N", 4)))
    x = random_inputs((1, 4), count=3)
    x[1] = x[0]
    np.testing.assert_allclose(OnnxRuntime(network).run(x), x.reshape(3, -1), atol=1e-6)


def test_normalisation_comes_first() -> None:
    plain = load_network(cnn(channels=2))
    network = plain.with_normalization(Normalization((0.5, 0.25), (0.25, 2.0)))
    x = random_inputs(network.input_shape)
    mean = np.asarray([0.5, 0.25], np.float32).reshape(2, 1, 1)
    std = np.asarray([0.25, 2.0], np.float32).reshape(2, 1, 1)
    expected = OnnxRuntime(plain).run((x - mean) / std)
    np.testing.assert_array_equal(OnnxRuntime(network).run(x), expected)
    inside = network(torch.from_numpy(x)).reshape(3, -1).numpy()
    np.testing.assert_allclose(inside, expected, atol=1e-5)


def test_a_dropped_softmax_is_cut_off() -> None:
    nodes = [node("Gemm", ["x", "w"], ["z"]), node("Softmax", ["z"], ["y"], axis=-1)]
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    network = load_network(model(nodes, shape=(1, 4), weights=weights))
    x = random_inputs((1, 4))
    np.testing.assert_allclose(
        OnnxRuntime(network).run(x), x.reshape(3, 4) @ weights["w"], atol=1e-5
    )


def test_double_precision_is_kept() -> None:
    network = load_network(mlp(dtype=np.float64))
    x = random_inputs((1, 4))
    y = OnnxRuntime(network).run(x)
    assert y.dtype == np.float64
    exact = network(torch.from_numpy(x).double()).reshape(3, -1).numpy()
    np.testing.assert_allclose(y, exact, atol=1e-12)


def test_half_precision_is_widened() -> None:
    network = load_network(mlp(dtype=np.float16))
    assert OnnxRuntime(network).run(random_inputs((1, 4))).dtype == np.float32


def test_changed_parameters_are_run() -> None:
    network = load_network(mlp())
    moved = network.with_parameters({"b3": network.parameters["b3"] + 1})
    x = random_inputs((1, 4))
    for candidate in (moved, fold_affine(moved)):
        difference = OnnxRuntime(candidate).run(x) - OnnxRuntime(network).run(x)
        np.testing.assert_allclose(difference, 1.0, atol=1e-5)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(4,\), the network takes \(1, 4\)"):
        OnnxRuntime(load_network(mlp())).run(np.zeros((2, 4), np.float32))


def test_a_network_built_in_memory_cannot_run() -> None:
    network = Network(Graph((Node("x", Input(), (), (1, 3)),), "x"), {}, name="made")
    with pytest.raises(ModelImportError, match="'made' was built in memory"):
        OnnxRuntime(network)


def test_a_failing_run_says_so() -> None:
    network = load_network(mlp())
    runtime = OnnxRuntime(network)
    runtime.input_shape = (1, 5)
    with pytest.raises(ModelImportError, match="onnxruntime cannot run this network"):
        runtime.run(np.zeros((1, 1, 5), np.float32))
