"""Instances of a peer's table: those at hand by their names, those of MNIST made again."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.abcrown import lay_out
from benchmarks.mnist_specifications import write_mnist_specifications
from solvers.vnnlib import read_vnnlib

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
CATEGORY = SHARED / "benchmarks" / "mnist_fc"

pytestmark = pytest.mark.skipif(
    not (SHARED / "peers").is_dir(), reason="the folder ../shared with peers' figures is absent"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_mnist_specifications(folder, CATEGORY)
    return folder


def test_a_specification_made_again_is_the_competition_s(made: Path) -> None:
    names = [path.name for path in sorted((CATEGORY / "vnnlib").glob("2022_*"))]
    assert len(names) >= 10
    for name in names:
        (theirs,) = read_vnnlib(CATEGORY / "vnnlib" / name).cases
        (ours,) = read_vnnlib(made / name.removeprefix("2022_")).cases
        np.testing.assert_allclose(ours.region.lower, theirs.region.lower, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.region.upper, theirs.region.upper, rtol=0, atol=1e-6)
        given = [clause.matrix.tolist() for clause in theirs.specification.clauses]
        assert [clause.matrix.tolist() for clause in ours.specification.clauses] == given


def test_other_images_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "vnnlib").mkdir()
    (tmp_path / "onnx").symlink_to(CATEGORY / "onnx")
    one, other = sorted((CATEGORY / "vnnlib").glob("2022_*0.05*"))[:2]
    shutil.copy(one, tmp_path / "vnnlib" / other.name)
    with pytest.raises(ValueError, match="another image"):
        write_mnist_specifications(tmp_path / "made", tmp_path)


def test_every_instance_is_laid_out_or_counted(tmp_path: Path) -> None:
    for _ in range(2):  # what is there already is written again
        layout = lay_out(tmp_path)
    lines = []
    for folder in layout.folders:
        with (folder / "instances.csv").open(newline="") as file:
            mine = list(csv.DictReader(file))
        assert all((folder / line["onnx"]).is_file() for line in mine)
        assert all((folder / line["vnnlib"]).is_file() for line in mine)
        lines += mine
    assert len(lines) + sum(layout.absent.values()) == 46
    assert {line["expected"] for line in lines} == {"sat", "unsat", "unknown"}
