"""Stored proofs are checked against what was asked, not against what they say."""

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
from worker.inspector import RejectedFileError, StoredProof, SubprocessInspector

ASKED = {**SETTINGS, "epsilon": 0.05, "proof_timeout_seconds": 60.0}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredProof:
    folder = tmp_path_factory.mktemp("proofs")
    layers = [(np.eye(2), np.zeros(2)), (np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))]
    network = write_mlp(folder / "n.onnx", layers)
    data = write_data(folder / "d.npz", np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), [0, 1])
    options = options_of(ASKED, device="cpu")
    (item,) = Certifier(load_network(network), load_dataset(data), options).items([0])
    assert item.proof_file is not None
    (folder / "proof").write_bytes(item.proof_file)
    return StoredProof(folder / "proof", network, data, ASKED, 0)


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubprocessInspector]:
    made = SubprocessInspector(service_settings(tmp_path_factory.mktemp("inspector")))
    yield made
    made.close()


def test_a_proof_of_what_was_asked_is_accepted(
    stored: StoredProof, inspector: SubprocessInspector
) -> None:
    found = inspector.check(stored)
    assert (found["accepted"], found["reason"]) == (True, None)
    assert found["margin"] == pytest.approx(0.7, abs=1e-4)
    assert 0 < found["deployment_margin"] < found["margin"]
    assert any("never" in line for line in found["statement"])
    assert found["leaves"] >= 1


@pytest.mark.parametrize("changes", [
    {"index": 1},
    {"settings": {**ASKED, "epsilon": 0.06}},
    {"settings": {**ASKED, "norm": "2", "epsilon": 0.3}},
    {"settings": {**ASKED, "normalization": {"mean": [0.5], "std": [0.25]}}},
])  # fmt: skip
def test_a_proof_of_something_else_is_rejected(
    stored: StoredProof, inspector: SubprocessInspector, changes: dict[str, object]
) -> None:
    found = inspector.check(replace(stored, **changes))  # type: ignore[arg-type]
    assert found["accepted"] is False
    assert found["reason"]
    assert found["margin"] is None


def test_a_damaged_proof_is_rejected(
    stored: StoredProof, inspector: SubprocessInspector, tmp_path: Path
) -> None:
    damaged = tmp_path / "proof"
    damaged.write_bytes(stored.proof.read_bytes()[:-30])
    assert inspector.check(replace(stored, proof=damaged))["accepted"] is False


def test_what_does_not_fit_is_no_judgement(
    stored: StoredProof, inspector: SubprocessInspector, tmp_path: Path
) -> None:
    other = write_data(tmp_path / "d.npz", np.zeros((1, 7), np.float32), [0])
    with pytest.raises(RejectedFileError, match="shape"):
        inspector.check(replace(stored, dataset=other))
