"""A small network that can be worked out by hand, and what to ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.small_files import write_data, write_property, write_two_class


@dataclass(frozen=True)
class Small:
    """Paths of the files; `inputs` of the data: proved, broken, wrong."""

    folder: Path
    network: Path
    data: Path
    holds: Path
    broken: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """y0 − y1 = 2 x0 − 2 x1 − 0.1 where x0 > x1 ≥ 0."""
    return Small(
        folder=tmp_path,
        network=write_two_class(tmp_path / "two.onnx"),
        data=write_data(tmp_path / "data.npz", [[0.8, 0.2], [0.5, 0.42], [0.1, 0.9]], [0, 0, 0]),
        holds=write_property(tmp_path / "holds.vnnlib", 0.0, bounds=[(0.6, 0.8), (0.1, 0.3)]),
        broken=write_property(tmp_path / "broken.vnnlib", 0.0, bounds=[(0.4, 0.8), (0.1, 0.6)]),
    )
