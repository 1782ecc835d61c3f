"""Counterexamples are run again for what was asked, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data import load_dataset
from models.onnx_import import load_network
from solvers.certification import Certifier
from tests.helpers.service import SETTINGS, service_settings
from tests.helpers.small_files import write_data, write_mlp
from worker.certification import options_of
from worker.inspector import RejectedFileError, StoredExample, SubprocessInspector

BEHIND = {"mean": [0.5], "std": [0.25]}


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubprocessInspector]:
    made = SubprocessInspector(service_settings(tmp_path_factory.mktemp("inspector")))
    yield made
    made.close()


def found(folder: Path, **changes: object) -> StoredExample:
    """Certify two inputs, the first of which is close to where the answer changes."""
    settings = {**SETTINGS, "epsilon": 0.1, "valid_range": None, **changes}
    layers = [(np.eye(2), np.zeros(2)), (np.eye(2), np.zeros(2))]
    network = write_mlp(folder / "n.onnx", layers)
    x = np.array([[0.75, 0.7], [0.6, 0.9]], np.float32)
    data = write_data(folder / "d.npz", x, [0, 1])
    options = options_of(settings, device="cpu")
    (item,) = Certifier(load_network(network), load_dataset(data), options).items([0])
    assert item.counterexample is not None
    example = item.counterexample.to_json()
    return StoredExample(example["x"], example["y"], network, data, settings, 0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredExample:
    return found(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> StoredExample:
    return found(tmp_path_factory.mktemp("normalised"), normalization=BEHIND)


def test_what_was_found_is_confirmed(stored: StoredExample, inspector: SubprocessInspector) -> None:
    told = inspector.replay(stored)
    assert (told["confirmed"], told["reason"], told["difference"]) == (True, None, 0.0)
    assert told["margin"] == pytest.approx(stored.y[0] - stored.y[1])
    assert told["margin"] <= 0
    assert told["seconds"] > 0


def test_normalisation_stands_in_front(
    normalised: StoredExample, inspector: SubprocessInspector
) -> None:
    told = inspector.replay(normalised)
    assert (told["confirmed"], told["difference"]) == (True, 0.0)
    # Without it the same input has other outputs.
    bare = {**normalised.settings, "normalization": None}
    assert inspector.replay(replace(normalised, settings=bare))["difference"] > 0.1


@pytest.mark.parametrize(("changes", "reason"), [
    ({"x": [0.75, 0.7]}, "right answer"),
    ({"x": [0.5, 0.7]}, "outside the region"),
    ({"x": [0.75, float("inf")]}, "outside the region"),
    ({"x": [0.7]}, "1 values, the network takes 2"),
    ({"index": 1}, "right answer|outside the region"),
])  # fmt: skip
def test_what_is_none_is_refused(
    stored: StoredExample,
    inspector: SubprocessInspector,
    changes: dict[str, object],
    reason: str,
) -> None:
    told = inspector.replay(replace(stored, **changes))  # type: ignore[arg-type]
    assert told["confirmed"] is False
    assert any(part in told["reason"] for part in reason.split("|"))
    assert told["margin"] is None


def test_a_smaller_radius_leaves_it_outside(
    stored: StoredExample, inspector: SubprocessInspector
) -> None:
    asked = {**stored.settings, "epsilon": 0.001}
    told = inspector.replay(replace(stored, settings=asked))
    assert told["reason"] == "it lies outside the region that was asked about"


def test_what_does_not_fit_is_no_judgement(
    stored: StoredExample, inspector: SubprocessInspector, tmp_path: Path
) -> None:
    other = write_data(tmp_path / "d.npz", np.zeros((1, 7), np.float32), [0])
    with pytest.raises(RejectedFileError, match="shape"):
        inspector.replay(replace(stored, dataset=other))
