"""Networks as torch writes them, by both of its exporters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from models import fold_affine
from tests.helpers.agreement import assert_agrees, torch_outputs
from tests.helpers.exports import exported


class Residual(nn.Module):
    """A convolution around which the input is carried, with everything else exporters write."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.BatchNorm2d(4))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.last = nn.Linear(16, 3)
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).reshape(1, 2, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        x = self.first((x - self.mean) / 0.25)
        x = torch.relu(x + self.second(x))
        return self.last(self.pool(x).reshape(x.shape[0], -1))


class Pieces(nn.Module):
    """Slices, chunks, concatenations, means, transposes."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 1.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix."""
        left, right = x.chunk(2, dim=-1)
        swapped = torch.cat([right, left.flip(-1)], dim=-1)
        y = nn.functional.leaky_relu(self.map(swapped), 0.1) * self.scale
        z = torch.sigmoid(y[:, :, 1:]) - torch.tanh(y[:, :, :-1])
        return z.mean(dim=1) + x.transpose(1, 2).sum(dim=2)[:, :3]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.PReLU(), nn.Linear(5, 2)),
        (1, 2, 4),
    ),
    "residual": (Residual, (1, 2, 4, 4)),
    "pools": (
        lambda: nn.Sequential(
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Hardtanh(-0.5, 0.5),
            nn.AvgPool2d(2, padding=1, count_include_pad=False),
            nn.ReLU6(),
            nn.Flatten(),
        ),
        (1, 2, 7, 7),
    ),
    "decoder": (
        lambda: nn.Sequential(
            nn.Linear(3, 8),
            nn.Unflatten(1, (2, 2, 2)),
            nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
            nn.Dropout2d(),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.ZeroPad2d((1, 0, 2, 1)),
            nn.Conv2d(3, 1, 3, groups=1),
            nn.Tanh(),
        ),
        (1, 3),
    ),
    "pieces": (Pieces, (1, 3, 4)),
}


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", CASES)
def test_exports(name: str, dynamo: bool) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    build, shape = CASES[name]
    torch.manual_seed(0)
    module = build().eval()
    for entry in module.modules():
        if isinstance(entry, nn.BatchNorm2d):
            nn.init.uniform_(entry.running_mean, -1, 1)
            nn.init.uniform_(entry.running_var, 0.5, 2)
    x = torch.randn(shape)
    network = assert_agrees(exported(module, x, dynamo=dynamo))
    expected = module(x).detach().numpy().reshape(1, -1)
    batch = x.numpy()[None]
    np.testing.assert_allclose(torch_outputs(network, batch), expected, atol=1e-5)
    folded = fold_affine(network.to(torch.float64))
    np.testing.assert_allclose(torch_outputs(folded, batch), expected, atol=1e-5)
