"""The example networks: written as they are, and good enough to show something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from examples import digits
from examples.onnx_writer import write_onnx
from models import load_dataset, load_network

LAYERS = {
    "mlp": nn.Sequential(nn.Flatten(), nn.Linear(50, 7), nn.ReLU(), nn.Linear(7, 3)),
    "conv": nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 4),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_is_written_as_it_is(name: str, tmp_path: Path) -> None:
    network, shape, path = LAYERS[name], (2, 5, 5), tmp_path / "network.onnx"
    write_onnx(network, shape, path)
    x = torch.randn(6, *shape)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": x.numpy()})
    # float32 sums of at most 50 products in another order.
    np.testing.assert_allclose(found, network(x).detach().numpy(), atol=1e-5)
    assert load_network(path).output_size == found.shape[1]


def test_a_layer_without_a_counterpart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_onnx(nn.Sequential(nn.Tanh()), (3,), tmp_path / "network.onnx")


def test_training_moves_inputs_only_as_far_as_it_may() -> None:
    data = digits.load()
    network = LAYERS["mlp"].__class__(nn.Flatten(), nn.Linear(64, 10))
    x, y = data.x_train[:32], data.y_train[:32]
    moved = digits._moved(network, x, y, 0.1)
    assert moved.min() >= 0
    assert moved.max() <= 1
    # One rounding of float32 on numbers up to 1.
    assert (moved - x).abs().max() <= 0.1 + 1e-6
    assert (moved != x).any()


def test_the_demonstration_networks_are_worth_certifying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(digits.train.__kwdefaults__, "epochs", 6)
    paths, data_path = digits.make(tmp_path / "made")
    data = load_dataset(data_path)
    assert data.x.shape == (360, 1, 8, 8)
    assert [path.stem for path in paths] == ["digits-mlp", "digits-conv", "digits-conv-robust"]
    for path in paths:
        network = load_network(path)
        assert network.input_shape == (1, 1, 8, 8)
        logits = network(torch.tensor(data.x)[:, None]).reshape(len(data), 10)
        assert (logits.argmax(1).numpy() == data.y).mean() > 0.8
