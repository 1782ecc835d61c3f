"""Every import is compared with onnxruntime before it is used."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import ModelImportError
from models.network import Network
from models.runtime import OnnxRuntime

__all__ = ["compare_with_onnxruntime"]

_SEED = 20240229
# Share of the largest output, and multiple of float32's rounding, that onnxruntime may be off;
# float16 rounds 2^13 times as coarsely as float32.
_SINGLE = (2e-5, 64.0)
_HALF = (1e-2, 4.0 * 2.0**13)


def compare_with_onnxruntime(network: Network, *, half: bool = False) -> None:
    """Compare the network with onnxruntime on three random inputs.

    torch computes in float64 and in float32; the difference of the two says how much rounding to
    expect from this network, and onnxruntime may be off by a multiple of it.

    Args:
        network: As it was imported.
        half: Whether onnxruntime computes some of it in float16.

    Raises:
        ModelImportError: The outputs differ in shape or by more than rounding, are not finite, or
            onnxruntime cannot run the network.
    """
    runtime = OnnxRuntime(network)
    x = _samples(network.input_shape)
    expected = runtime.run(x).astype(np.float64)
    exact = _run(network, x, torch.float64)
    if exact.shape != expected.shape:
        raise ModelImportError(
            f"the imported network gives {exact.shape[1]} outputs, onnxruntime gives "
            f"{expected.shape[1]}; please report this network"
        )
    if not (np.isfinite(exact).all() and np.isfinite(expected).all()):
        raise ModelImportError(
            "the network's outputs are NaN or infinite on ordinary inputs; it cannot be certified"
        )
    rounding = float(np.abs(_run(network, x, torch.float32) - exact).max())
    scale = float(np.abs(exact).max())
    relative, multiple = _HALF if half else _SINGLE
    tolerance = relative * scale + multiple * rounding + 1e-7
    difference = float(np.abs(exact - expected).max())
    if not difference <= tolerance:
        raise ModelImportError(
            f"the imported network and onnxruntime differ by {difference:.3g} on a random input "
            f"(tolerance {tolerance:.3g}); please report this network"
        )


def _samples(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return three inputs: pixels in [0, 1], standard normal ones, and wide ones."""
    generator = np.random.default_rng(_SEED)
    rows = [
        generator.uniform(0.0, 1.0, shape),
        generator.normal(0.0, 1.0, shape),
        generator.normal(0.0, 4.0, shape),
    ]
    return np.stack(rows).astype(np.float32)


def _run(network: Network, x: NDArray[np.float32], dtype: torch.dtype) -> NDArray[np.float64]:
    with torch.no_grad():
        y = network.to(dtype)(torch.from_numpy(x).to(dtype))
    return y.reshape(len(x), -1).to(torch.float64).numpy()
