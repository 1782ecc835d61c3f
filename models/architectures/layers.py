"""What an architecture is made of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Architecture", "Convolve", "Dense", "Layer"]


@dataclass(frozen=True)
class Convolve:
    """A convolution with a square kernel, then ReLU.

    Attributes:
        filters: Output channels.
        kernel: Its side.
        stride: In both directions.
        padding: Zeros on every side.
    """

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Dense:
    """A dense layer on flat values, then ReLU.

    Attributes:
        units: Outputs.
    """

    units: int


Layer = Convolve | Dense


@dataclass(frozen=True)
class Architecture:
    """Hidden layers in order, convolutions first; a dense layer to the classes follows.

    Attributes:
        name: As in `ARCHITECTURES`, or `mlp:` with widths.
        layers: Hidden layers.
        normalised: Whether a BatchNormalization stands before every ReLU.
        source: Where it was published.
    """

    name: str
    layers: tuple[Layer, ...]
    normalised: bool = False
    source: str = ""
