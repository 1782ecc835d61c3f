"""Real networks agree with onnxruntime, also folded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.special import softmax

from models import fold_affine, load_network
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
    "ml4acopf",
    "traffic_signs_recognition",
    "nn4sys",
]


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
        found = torch_outputs(network, x)
        if any("Softmax is dropped" in note for note in network.notes):
            found = softmax(found, axis=1)
        scale = 1.0 + abs(expected).max()
        assert abs(found - expected).max() <= 1e-4 * scale, path.name


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
