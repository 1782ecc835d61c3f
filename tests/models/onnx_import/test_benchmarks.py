"""Real networks: those that must be read agree with onnxruntime, the others say what they need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import UnsupportedOperatorError, fold_affine, load_network
from tests.helpers.agreement import ort_outputs, random_inputs, torch_outputs

ROOT = Path(__file__).parents[3].parent / "shared" / "benchmarks"
SUPPORTED = [
    "acasxu",
    "cifar10_resnet",
    "collins_rul_cnn",
    "eran",
    "marabou_cifar10",
    "metaroom",
    "mnist_fc",
    "oval21",
    "reach_prob_density",
    "rl_benchmarks",
    "sdp",
    "sri_resnet_a",
    "test",
    "tllverifybench",
    "verivital",
    "cgan",
    "cifar_biasfield",
    "dist_shift",
    "vit",
]
UNSUPPORTED = {
    "ml4acopf": {"Pow"},
    "traffic_signs_recognition": {"Sign"},
}


def files(category: str) -> list[Path]:
    found = sorted((ROOT / category).rglob("*.onnx"))
    if not found:
        pytest.skip(f"the benchmark networks of {category!r} are not beside the repository")
    return found


@pytest.mark.parametrize("category", SUPPORTED)
def test_every_network_agrees_with_onnxruntime(category: str) -> None:
    for path in files(category):
        network = load_network(path)
        x = random_inputs(network.input_shape, count=2)
        expected = ort_outputs(path.read_bytes(), x)
        scale = 1.0 + abs(expected).max()
        assert abs(torch_outputs(network, x) - expected).max() <= 1e-4 * scale, path.name


@pytest.mark.parametrize("category", SUPPORTED)
def test_every_network_folds(category: str) -> None:
    for path in files(category)[:3]:
        network = load_network(path, check=False).to(torch.float64)
        folded = fold_affine(network)
        assert len(folded.graph.nodes) <= len(network.graph.nodes)
        x = random_inputs(network.input_shape, count=2)
        expected = torch_outputs(network, x)
        scale = 1.0 + abs(expected).max()
        assert abs(torch_outputs(folded, x) - expected).max() <= 1e-9 * scale, path.name


@pytest.mark.parametrize("category", UNSUPPORTED)
def test_the_others_name_what_they_need(category: str) -> None:
    for path in files(category):
        with pytest.raises(UnsupportedOperatorError) as caught:
            load_network(path)
        assert caught.value.operator in UNSUPPORTED[category]


def test_nn4sys_is_read_or_refused_operator_by_operator() -> None:
    for path in files("nn4sys"):
        try:
            network = load_network(path)
        except UnsupportedOperatorError as error:
            assert error.operator in {"Pow"}
        else:
            assert network.output_size > 0
