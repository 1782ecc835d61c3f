"""The named architectures, on one screen.

Layer lists follow the papers. Where a paper's framework pads a strided convolution on one side
only, one row of zeros on every side takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.architectures.layers import Architecture, Convolve, Dense
from models.errors import InvalidInputError

__all__ = ["ARCHITECTURES", "architecture"]

_WONG = "Wong and Kolter 2018"
_GOWAL = "Gowal et al. 2018, table 1"

_SEVEN_LAYERS = (
    Convolve(64, 3, 1, 1),
    Convolve(64, 3, 1, 1),
    Convolve(128, 3, 2, 1),
    Convolve(128, 3, 1, 1),
    Convolve(128, 3, 1, 1),
    Dense(512),
)
"""Two architectures share these; the seventh gives the scores, as in every architecture."""

_TABLE = (
    Architecture(
        "cnn-small",
        (Convolve(16, 4, 2, 1), Convolve(32, 4, 2, 1), Dense(100)),
        source=_WONG,
    ),
    Architecture(
        "cnn-large",
        (
            Convolve(32, 3, 1, 1),
            Convolve(32, 4, 2, 1),
            Convolve(64, 3, 1, 1),
            Convolve(64, 4, 2, 1),
            Dense(512),
            Dense(512),
        ),
        source=_WONG,
    ),
    Architecture("dm-small", (Convolve(16, 4, 2), Convolve(32, 4), Dense(100)), source=_GOWAL),
    Architecture(
        "dm-medium",
        (
            Convolve(32, 3),
            Convolve(32, 4, 2),
            Convolve(64, 3),
            Convolve(64, 4, 2),
            Dense(512),
            Dense(512),
        ),
        source=_GOWAL,
    ),
    Architecture(
        "dm-large",
        _SEVEN_LAYERS,
        source=_GOWAL,
    ),
    Architecture(
        "cnn7",
        _SEVEN_LAYERS,
        normalised=True,
        source="Shi et al. 2021",
    ),
)

ARCHITECTURES: Mapping[str, Architecture] = {entry.name: entry for entry in _TABLE}
"""By name; `mlp:WIDTH,WIDTH,…` stands for a multilayer perceptron beside these."""


def architecture(name: str) -> Architecture:
    """Return the architecture of a name.

    Args:
        name: A key of `ARCHITECTURES`, or `mlp:100,100` for dense layers of these widths.

    Raises:
        InvalidInputError: There is no such architecture.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    kind, colon, widths = name.partition(":")
    if kind != "mlp" or not colon:
        raise InvalidInputError(
            f"there is no architecture {name!r}; choose {', '.join(ARCHITECTURES)}, or "
            "mlp:100,100 for dense layers of such widths"
        )
    try:
        units = [int(width) for width in widths.split(",")]
    except ValueError:
        units = []
    if not units or min(units) < 1:
        raise InvalidInputError(
            f"the widths of {name!r} cannot be read; write whole numbers above 0, as in mlp:100,100"
        )
    return Architecture(name, tuple(Dense(width) for width in units))
