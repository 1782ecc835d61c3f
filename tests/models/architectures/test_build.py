"""Named architectures: their layers, their weights, and what is refused."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
import torch

from models import ShapeError, load_network, write_network
from models.architectures import ARCHITECTURES, Initialisation, architecture, build_architecture
from models.errors import InvalidInputError
from models.network import Network, Normalization
from models.operators import BatchNormalization, Convolution, Linear, Relu
from models.runtime import OnnxRuntime

# Weights of the published networks on 28 × 28 images with one channel and ten classes, counted
# by hand from the papers' layer lists, biases included.
PARAMETERS = {
    "cnn-small": 16 * 16 + 16 + 32 * 256 + 32 + 100 * 1568 + 100 + 10 * 100 + 10,
    "cnn-large": (32 * 9 + 32)
    + (32 * 32 * 16 + 32)
    + (64 * 32 * 9 + 64)
    + (64 * 64 * 16 + 64)
    + (512 * 3136 + 512)
    + (512 * 512 + 512)
    + (10 * 512 + 10),
    "dm-small": 16 * 16 + 16 + 32 * 256 + 32 + 100 * 32 * 10 * 10 + 100 + 10 * 100 + 10,
}
LAYERS = {
    "cnn-small": ([16, 32], [100]),
    "cnn-large": ([32, 32, 64, 64], [512, 512]),
    "dm-small": ([16, 32], [100]),
    "dm-medium": ([32, 32, 64, 64], [512, 512]),
    "dm-large": ([64, 64, 128, 128, 128], [512]),
    "cnn7": ([64, 64, 128, 128, 128], [512]),
    "mlp:7,5": ([], [7, 5]),
}


def count(network: Network) -> int:
    return sum(value.numel() for value in network.parameters.values())


def outputs(network: Network, kind: type) -> list[int]:
    nodes = [node for node in network.graph.nodes if isinstance(node.operator, kind)]
    return [node.shape[1] for node in nodes]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_of_the_paper(name: str) -> None:
    network = build_architecture(name, (1, 28, 28), 10)
    filters, units = LAYERS[name]
    assert outputs(network, Convolution) == filters
    assert outputs(network, Linear) == [*units, 10]
    assert len(outputs(network, Relu)) == len(filters) + len(units)
    normalised = len(outputs(network, BatchNormalization))
    assert normalised == (6 if name == "cnn7" else 0)
    assert network.output_shape == (1, 10)


def test_every_architecture_is_tested() -> None:
    assert set(LAYERS) - {"mlp:7,5"} == set(ARCHITECTURES)
    assert all(plan.source for plan in ARCHITECTURES.values())


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_are_as_many_as_in_the_paper(name: str) -> None:
    assert count(build_architecture(name, (1, 28, 28), 10)) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["cnn-small", "cnn7", "mlp:9"])
@pytest.mark.parametrize("shape", [(3, 16, 16), (16, 16)])
def test_files_run_in_batches_and_come_back(name: str, shape: tuple[int, ...]) -> None:
    network = build_architecture(name, shape, 4, seed=3)
    x = np.random.default_rng(0).uniform(size=(5, *network.input_shape)).astype(np.float32)
    found = network(torch.from_numpy(x)).flatten(1).numpy()
    np.testing.assert_allclose(OnnxRuntime(network).run(x), found, rtol=1e-4, atol=1e-5)
    again = load_network(write_network(network))
    assert again.trainable == network.trainable
    assert {"weight1", "bias1"} <= network.trainable


def test_the_seed_decides_the_weights() -> None:
    first, second, other = (build_architecture("mlp:5", (4,), 2, seed=s) for s in (1, 1, 2))
    for name, value in first.parameters.items():
        assert torch.equal(value, second.parameters[name])
        assert not torch.equal(value, other.parameters[name])


def test_ibp_weights_keep_the_width_of_intervals() -> None:
    name = "mlp:" + ",".join(["400"] * 5)
    network = build_architecture(name, (400,), 2, seed=0, initialisation=Initialisation.IBP)
    weight = network.parameters["weight3"]
    assert float(weight.std()) == pytest.approx(sqrt(2 * pi) / 400, rel=0.02)
    assert not any(network.parameters[f"bias{layer}"].any() for layer in range(1, 7))
    radius = torch.ones(400)
    for layer in range(1, 6):
        # Half of the width of a neuron around zero survives its ReLU.
        radius = 0.5 * (network.parameters[f"weight{layer}"].abs() @ radius)
    assert 0.8 < float(radius.mean()) < 1.25


def test_standard_weights_are_bounded_by_the_inputs() -> None:
    network = build_architecture("mlp:50", (100,), 2, seed=0)
    for name in ("weight1", "bias1"):
        largest = float(network.parameters[name].abs().max())
        assert 0.08 < largest <= 0.1


def test_a_normalisation_is_part_of_the_file() -> None:
    plain = build_architecture("mlp:5", (3, 4, 4), 2, seed=1)
    normalization = Normalization((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    inside = build_architecture("mlp:5", (3, 4, 4), 2, seed=1, normalization=normalization)
    x = torch.rand(4, *plain.input_shape)
    expected = plain.with_normalization(normalization)(x)
    torch.testing.assert_close(inside(x), expected, rtol=1e-4, atol=1e-5)
    assert inside.normalization is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cnn-tiny", "no architecture 'cnn-tiny'; choose cnn-small"),
        ("mlp", "no architecture 'mlp'"),
        ("mlp:", "widths of 'mlp:' cannot be read"),
        ("mlp:10,x", "widths of 'mlp:10,x' cannot be read"),
        ("mlp:10,0", "widths of 'mlp:10,0' cannot be read"),
    ],
)
def test_names_that_mean_nothing(name: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        architecture(name)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("cnn-small", (784,), "reshape them, or choose mlp"),
        ("cnn-small", (), "hold nothing"),
        ("dm-small", (1, 8, 8), "too small for a kernel of 4"),
        ("mlp:5", (3, 0), "hold nothing"),
    ],
)
def test_inputs_that_do_not_fit(name: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        build_architecture(name, shape, 10)


def test_one_class_is_not_enough() -> None:
    with pytest.raises(InvalidInputError, match="at least 2 classes"):
        build_architecture("mlp:5", (4,), 1)
