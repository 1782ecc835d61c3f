"""What the guides stand on: data that a network can learn, and pictures that are there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from examples import scans, sensors
from tests.helpers.imports import ROOT

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize(
    ("make", "shape"), [(scans.scans, (1, scans.SIDE, scans.SIDE)), (sensors.readings, (8,))]
)
def test_data_are_mixed_and_repeatable(make: Callable[..., object], shape: tuple[int, ...]) -> None:
    x, y = make(60, seed=3)  # type: ignore[misc]
    assert (x.shape, x.dtype) == ((60, *shape), np.float32)
    assert 0 <= x.min() < x.max() <= 1
    assert np.bincount(y).tolist() == [20, 20, 20]
    again, _ = make(60, seed=3)  # type: ignore[misc]
    np.testing.assert_array_equal(x, again)
    # Classes differ by more than the noise: the nearest mean tells most of them apart.
    means = np.stack([x[y == label].mean(axis=0) for label in range(3)])
    distances = ((x[:, None] - means) ** 2).reshape(60, 3, -1).sum(axis=2)
    assert (distances.argmin(axis=1) == y).mean() > 0.6


@pytest.mark.parametrize("module", [scans, sensors])
def test_files_are_read_by_the_commands(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command of a guide, in one epoch."""
    name = module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    module.make(tmp_path)  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    command = (
        f"train --architecture mlp:8 --data {name}-train.npz --method standard --epsilon 0.03 "
        "--epochs 1 --count 100 --out plain.onnx"
    )
    assert main(command.split()) == 0
    command = f"certify plain.onnx --data {name}-test.npz --epsilon 0.03 --count 2 --methods crown"
    assert main(command.split()) == 0


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_pictures_are_there_and_small(guide: Path) -> None:
    pictures = re.findall(r"!\[[^\]]+\]\((pictures/[\w-]+\.png)\)", guide.read_text("utf-8"))
    assert pictures
    for name in pictures:
        assert (guide.parent / name).stat().st_size < 150_000


def test_every_picture_is_shown() -> None:
    text = "".join(guide.read_text("utf-8") for guide in GUIDES)
    made = [path.name for path in (ROOT / "docs" / "guides" / "pictures").glob("*.png")]
    assert [name for name in made if name not in text] == []
