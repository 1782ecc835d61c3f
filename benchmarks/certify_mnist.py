"""Certify 100 MNIST test images with a 784-100-100-10 network that is trained here."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from benchmarks.shared import print_table, shared_folder
from models import load_dataset, load_network
from reports.summary import summarize
from solvers.certification import CertifyOptions, certify_items
from solvers.methods import Method

_WIDTHS = (784, 100, 100, 10)
_EPOCHS = 4
_BATCH = 128


def _noisy(x: Tensor, generator: torch.Generator, epsilon: float) -> Tensor:
    noise = torch.rand(x.shape, generator=generator) * 2 - 1
    return (x + epsilon * noise.sign()).clamp(0, 1)


def train(shared: Path, seed: int = 0) -> nn.Sequential:
    """Train on MNIST with signed noise, which keeps margins from collapsing."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data = np.load(shared / "data" / "mnist.npz")
    x = torch.from_numpy(data["x_train"]).float().reshape(-1, 784) / 255
    y = torch.from_numpy(data["y_train"]).long()
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(_WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    for _ in range(_EPOCHS):
        for index in torch.randperm(len(x), generator=generator).split(_BATCH):
            loss = nn.functional.cross_entropy(model(_noisy(x[index], generator, 0.1)), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def to_onnx(model: nn.Sequential) -> bytes:
    """Write a chain of linear layers and ReLUs as ONNX with a symbolic batch."""
    nodes, initializers, last = [], [], "x"
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    widths = linear[0].in_features, linear[-1].out_features
    for position, layer in enumerate(model):
        out = f"h{position}"
        if isinstance(layer, nn.Linear):
            for suffix, value in (("w", layer.weight), ("b", layer.bias)):
                array = value.detach().numpy()
                initializers.append(numpy_helper.from_array(array, f"{suffix}{position}"))
            inputs = [last, f"w{position}", f"b{position}"]
            nodes.append(helper.make_node("Gemm", inputs, [out], transB=1))
        else:
            nodes.append(helper.make_node("Relu", [last], [out]))
        last = out
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", widths[0]])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", widths[1]])],
        initializers,
    )
    model_proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model_proto.ir_version = 10
    onnx.checker.check_model(model_proto)
    return bytes(model_proto.SerializeToString())


def run(epsilon: float = 0.02, count: int = 100, timeout_seconds: float = 60.0) -> None:
    """Train, certify and print the summary."""
    shared = shared_folder()
    began = time.perf_counter()
    network = load_network(to_onnx(train(shared)), name="mlp-784-100-100-10")
    trained = time.perf_counter() - began
    data = np.load(shared / "data" / "mnist.npz")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mnist-test.npz"
        np.savez(path, x=data["x_test"][:count], y=data["y_test"][:count])
        dataset = load_dataset(path)
    methods = tuple(Method)
    options = CertifyOptions(epsilon=epsilon, methods=methods, timeout_seconds=timeout_seconds)
    began = time.perf_counter()
    items = [item.to_json() for item in certify_items(network, dataset, options)]
    seconds = time.perf_counter() - began
    summary = summarize(items, [method.value for method in methods])
    correct = [item for item in items if item["verdict"] != "misclassified"]
    optimal = sum(item["exact"][1] - item["exact"][0] <= 1e-3 for item in correct)
    rows = []
    for method in methods:
        spent = [item["seconds"].get(method.value, 0.0) for item in correct]
        rows.append(
            [
                method.value,
                summary["certified_accuracy"][method.value],
                summary["mean_gap"][method.value],
                float(np.median(spent)),
                float(np.max(spent)),
            ]
        )
    header = ["method", "certified accuracy", "mean gap", "median s per input", "max s per input"]
    title = f"784-100-100-10 on {count} MNIST test images, epsilon {epsilon}"
    print_table(title, header, rows)
    print(f"\nclean {summary['clean_accuracy']:.3f}, empirical {summary['empirical_accuracy']:.3f}")
    print(f"falsified {summary['falsified']}, unknown {summary['unknown']}")
    print(f"exact value bracketed within 1e-3 on {optimal} of {len(correct)} correct inputs")
    print(f"training {trained:.1f} s, certification {seconds:.1f} s")
