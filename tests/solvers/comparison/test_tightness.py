"""Unstable neurons and slack by layer, by hand and against sampling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import Dataset, Normalization, load_network
from models.errors import DataError, ShapeError
from solvers.bounds import Interval
from solvers.certification import CertifyOptions
from solvers.comparison import layer_tightness
from solvers.comparison.tightness import relu_slack
from tests.helpers.networks import cnn, mlp, model, node
from tests.helpers.small_files import write_mlp

OPTIONS = CertifyOptions(epsilon=0.1, device="cpu")


def interval(lower: list[float], upper: list[float]) -> Interval:
    wide = torch.float64
    return Interval(torch.tensor([lower], dtype=wide), torch.tensor([upper], dtype=wide))


def test_slack_is_the_height_of_the_upper_line_at_zero() -> None:
    found = relu_slack(interval([-1.0, -1.0, 0.0, -2.0, -3.0], [1.0, 3.0, 2.0, 0.0, 1.0]))
    assert found.tolist() == [[0.5, 0.75, 0.0, 0.0, 0.75]]


@given(lower=st.floats(-100, -1e-3), upper=st.floats(1e-3, 100), share=st.floats(0, 1))
def test_slack_is_the_largest_gap_of_the_relaxation(
    lower: float, upper: float, share: float
) -> None:
    z = lower + share * (upper - lower)
    gap = upper * (z - lower) / (upper - lower) - max(z, 0.0)
    assert gap <= float(relu_slack(interval([lower], [upper]))) + 1e-9


def test_a_network_worked_out_by_hand(tmp_path: Path) -> None:
    # Pre-activations at x = (0.5, 0.4) ± 0.1: x0 − x1 in [−0.1, 0.3], −x0 in [−0.6, −0.4],
    # x0 + x1 − 0.9 in [−0.2, 0.2].
    hidden = ([[1.0, -1.0], [-1.0, 0.0], [1.0, 1.0]], [0.0, 0.0, -0.9])
    path = write_mlp(tmp_path / "n.onnx", [hidden, ([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], [0, 0])])
    data = Dataset(np.array([[0.5, 0.4], [0.9, 0.5]], np.float32), np.array([0, 0]))
    (layer,) = layer_tightness(load_network(path), data, OPTIONS, indices=[0])
    assert (layer.neurons, layer.unstable) == (3, 2.0)
    assert layer.slack == pytest.approx((0.1 * 0.3 / 0.4 + 0.2 * 0.2 / 0.4) / 2, abs=1e-6)
    # Around (0.9, 0.5) everything is stable.
    (both,) = layer_tightness(load_network(path), data, OPTIONS)
    assert both.unstable == 1.0
    assert both.slack == pytest.approx(layer.slack)
    (stable,) = layer_tightness(load_network(path), data, OPTIONS, indices=[1])
    assert (stable.unstable, stable.slack) == (0.0, 0.0)


@pytest.mark.parametrize("make", [mlp, cnn], ids=["mlp", "cnn"])
def test_neurons_that_change_sign_are_unstable(make: Callable[..., bytes]) -> None:
    network = load_network(make(seed=2))
    generator = np.random.default_rng(0)
    x = generator.uniform(0.2, 0.8, (20, *network.input_shape[1:])).astype(np.float32)
    data = Dataset(x, np.zeros(20, np.int64))
    layers = layer_tightness(network, data, OPTIONS)
    assert [layer.name for layer in layers] == [
        node.name for node in network.graph.nodes if type(node.operator).__name__ == "Relu"
    ]
    assert all(0 <= layer.unstable <= layer.neurons for layer in layers)
    wider = layer_tightness(network, data, CertifyOptions(epsilon=0.2, device="cpu"))
    narrow = layer_tightness(network, data, CertifyOptions(epsilon=0.0, device="cpu"))
    assert all(a.unstable >= b.unstable for a, b in zip(wider, layers, strict=True))
    assert [layer.unstable for layer in narrow] == [0.0] * len(layers)


def test_a_normalisation_stands_in_front(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "n.onnx", [([[1.0]], [0.0]), ([[1.0], [0.0]], [0.0, 0.0])])
    data = Dataset(np.array([[0.5]], np.float32), np.array([0]))
    plain = layer_tightness(load_network(path), data, OPTIONS)
    normalised = CertifyOptions(
        epsilon=0.1, device="cpu", normalization=Normalization((0.5,), (0.5,))
    )
    shifted = layer_tightness(load_network(path), data, normalised)
    assert (plain[0].unstable, shifted[0].unstable) == (0.0, 1.0)
    assert shifted[0].slack == pytest.approx(0.1, rel=1e-5)


def test_a_network_without_relus_has_no_layers() -> None:
    network = load_network(mlp(activation="Tanh"))
    data = Dataset(np.full((1, 4), 0.5, np.float32), np.array([0]))
    assert layer_tightness(network, data, OPTIONS) == ()


def test_infinite_bounds_are_no_number() -> None:
    # The region holds 0, where 1/x has a pole; behind it nothing is known.
    nodes = [
        node("Reciprocal", ["x"], ["r"]),
        node("Add", ["r", "s"], ["z"]),
        node("Relu", ["z"], ["y"]),
    ]
    weights = {"s": np.array([-1.5, -1.5], np.float32)}
    network = load_network(model(nodes, shape=(1, 2), weights=weights))
    data = Dataset(np.array([[0.5, 0.9]], np.float32), np.array([1]))
    wide = CertifyOptions(epsilon=1.0, device="cpu", valid_range=None)
    (layer,) = layer_tightness(network, data, wide)
    assert layer.unstable == 2
    assert not np.isfinite(layer.slack)
    (narrow,) = layer_tightness(network, data, OPTIONS)
    assert np.isfinite(narrow.slack)


def test_cancelling_stops_between_batches() -> None:
    network = load_network(mlp())
    data = Dataset(np.full((40, 4), 0.5, np.float32), np.zeros(40, np.int64))
    asked: list[int] = []

    def soon() -> bool:
        asked.append(1)
        return len(asked) > 1

    assert layer_tightness(network, data, OPTIONS, cancelled=lambda: True) == ()
    assert len(layer_tightness(network, data, OPTIONS, cancelled=soon)) == 2
    assert len(asked) == 2


def test_data_that_do_not_fit() -> None:
    network = load_network(mlp())
    with pytest.raises(ShapeError):
        layer_tightness(network, Dataset(np.zeros((1, 5), np.float32), np.array([0])), OPTIONS)
    with pytest.raises(DataError, match="label 3"):
        layer_tightness(network, Dataset(np.zeros((1, 4), np.float32), np.array([3])), OPTIONS)
