"""The oracle of import tests: onnxruntime on the unchanged file, apart from the product's check."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models import Network, load_network

__all__ = ["assert_agrees", "ort_outputs", "random_inputs", "torch_outputs"]


def random_inputs(shape: tuple[int, ...], *, seed: int = 1, count: int = 3) -> NDArray[np.float32]:
    """Return normal inputs, shape `(count, *shape)`."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def ort_outputs(data: bytes, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Run the file on each input alone; the first output, flattened."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    dtype = kinds.get(entry.type, np.float16)
    rows = [session.run(None, {entry.name: row.astype(dtype)})[0].reshape(-1) for row in x]
    return np.stack(rows).astype(np.float64)


def torch_outputs(network: Network, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Run the imported network in float64, flattened."""
    y = network.to(torch.float64)(torch.from_numpy(x).to(torch.float64))
    return y.reshape(len(x), -1).detach().numpy()


def assert_agrees(data: bytes, *, tolerance: float = 1e-5) -> Network:
    """Import with the product's check, compare with onnxruntime again, return the network.

    The default tolerance is float32 rounding on outputs of order one to ten.
    """
    network = load_network(data)
    x = random_inputs(network.input_shape)
    expected = ort_outputs(data, x)
    scale = 1.0 + np.abs(expected).max()
    np.testing.assert_allclose(torch_outputs(network, x), expected, atol=tolerance * scale, rtol=0)
    shapes = network.graph.evaluate(torch.from_numpy(x).to(network.dtype), network.parameters)
    for node in network.graph.nodes:
        assert tuple(shapes[node.name].shape[1:]) == node.shape
    return network
