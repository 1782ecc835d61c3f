"""Networks as torch's two exporters write them, and architectures to export."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import torch
from torch import nn

Shape = tuple[int, ...]


def exported(module: nn.Module, x: torch.Tensor, *, dynamo: bool) -> bytes:
    """Return a module as ONNX; the older exporter leaves the batch axis open."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own exporters
        if dynamo:
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
            assert program is not None
            return bytes(program.model_proto.SerializeToString())
        torch.onnx.export(
            module, (x,), stream, dynamo=False, dynamic_axes={"x": {0: "batch"}}, input_names=["x"]
        )
    return stream.getvalue()


class TokenNorm(nn.Module):
    """Batch normalisation of the features of tokens."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis."""
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    """Attention and two layers, each behind a normalisation and beside a shortcut."""

    def __init__(self, features: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = norm(features), norm(features)
        self.attention = nn.MultiheadAttention(features, 2, batch_first=True)
        middle = nn.GELU if norm is nn.LayerNorm else nn.ReLU
        self.layers = nn.Sequential(
            nn.Linear(features, 2 * features), middle(), nn.Linear(2 * features, features)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix tokens, then features."""
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.layers(self.second(x))


class VisionTransformer(nn.Module):
    """Patches of 4x4, a class token, positions, two blocks."""

    def __init__(self, norm: Callable[[int], nn.Module], features: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, features, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, features))
        self.positions = nn.Parameter(0.1 * torch.randn(1, 5, features))
        self.blocks = nn.Sequential(Block(features, norm), Block(features, norm))
        self.head = nn.Linear(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify by the class token."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.blocks(x)[:, 0])


class Encoder(nn.Module):
    """Two layers of torch's own transformer encoder, and a mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        return self.head(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    """A recurrent layer and what a linear layer makes of its last output."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        return self.head(self.layer(x)[0][:, -1])


class Shortcut(nn.Module):
    """Two convolutions with batch normalisation beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the input."""
        return torch.relu(x + self.inner(x))


def _resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.ReLU(),
        Shortcut(3),
        Shortcut(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 3),
    )


_SEQUENCE: Shape = (1, 4, 3)
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "resnet": (_resnet, (1, 1, 8, 8)),
    "vit_batch_norm": (lambda: VisionTransformer(TokenNorm), (1, 1, 8, 8)),
    "vit_layer_norm": (lambda: VisionTransformer(nn.LayerNorm), (1, 1, 8, 8)),
    "transformer": (Encoder, (1, 3, 8)),
    "lstm": (lambda: Recurrent(nn.LSTM(3, 4, batch_first=True)), _SEQUENCE),
    "gru": (lambda: Recurrent(nn.GRU(3, 4, batch_first=True)), _SEQUENCE),
    "rnn": (lambda: Recurrent(nn.RNN(3, 4, batch_first=True)), _SEQUENCE),
    "lstm_both_ways": (
        lambda: Recurrent(nn.LSTM(3, 2, num_layers=2, bidirectional=True, batch_first=True)),
        _SEQUENCE,
    ),
}
"""Modules by name, with the shape of one input."""


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return an architecture with random weights and statistics, and an input."""
    make, shape = ARCHITECTURES[name]
    torch.manual_seed(0)
    module = make().eval()
    for entry in module.modules():
        if isinstance(entry, nn.BatchNorm1d | nn.BatchNorm2d):
            assert entry.running_mean is not None
            assert entry.running_var is not None
            nn.init.uniform_(entry.running_mean, -0.5, 0.5)
            nn.init.uniform_(entry.running_var, 0.7, 1.5)
    return module, torch.rand(shape)
