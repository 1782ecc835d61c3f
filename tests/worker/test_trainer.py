"""The engine trains what was asked, and networks come back the way they went in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from models.data import load_source
from models.errors import InvalidInputError
from models.onnx_import import load_network
from tests.helpers.service import SETTINGS, training_settings
from tests.helpers.small_files import write_data, write_two_class
from training import UntrainableError
from worker.certification import certify
from worker.trainer import train_arm
from worker.work import BASELINE, ArmOutcome, CertificationWork, TrainingWork


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of scikit-learn's digits."""
    data = load_source("digits")
    return write_data(tmp_path_factory.mktemp("digits") / "d.npz", data.x[:400], data.y[:400])


@pytest.fixture
def work(digits: Path, tmp_path: Path) -> TrainingWork:
    return TrainingWork(
        network=None,
        network_name="",
        dataset=digits,
        dataset_name="digits",
        validation=None,
        validation_name="",
        settings={**training_settings(), "batch_size": 60},
        arm="candidate",
        checkpoint=tmp_path / "checkpoint",
        device="cpu",
        max_parameters=100_000,
    )


def changed(work: TrainingWork, **settings: object) -> TrainingWork:
    return dataclasses.replace(work, settings={**work.settings, **settings})


def trained(work: TrainingWork, events: list[Mapping[str, Any]] | None = None) -> ArmOutcome:
    seen: list[Mapping[str, Any]] = [] if events is None else events
    return train_arm(work, lambda: False, seen.append)


def test_an_architecture_is_trained_on_its_data(work: TrainingWork) -> None:
    events: list[Mapping[str, Any]] = []
    outcome = trained(work, events)
    assert not outcome.cancelled
    assert outcome.result["stopped"] == "completed"
    assert outcome.result["epochs"] == 2
    assert len(events) == 2 * 6 + 2
    ends = [event["metrics"] for event in events if event["metrics"] is not None]
    assert [entry["epoch"] for entry in ends] == [1, 2]
    assert "slack" in events[-1]["loss"]
    network = load_network(outcome.onnx)
    assert network.output_size == 10
    assert outcome.details["parameters"] == 64 * 8 + 8 + 80 + 10
    assert outcome.validation_indices is not None
    assert len(outcome.validation_indices) == 40
    assert outcome.checkpoint is not None
    assert any(name.startswith("best/") for name in load(outcome.checkpoint))
    record = outcome.result["record"]
    assert record["split"] == {"share": 0.1, "seed": 0}
    assert record["architecture"] == "mlp:8"
    assert record["data"]["training"]["count"] == 360


def test_equal_work_gives_equal_networks_and_arms_start_alike(
    work: TrainingWork, tmp_path: Path
) -> None:
    first: list[Mapping[str, Any]] = []
    events: list[Mapping[str, Any]] = []
    outcome = trained(work, first)
    again = trained(dataclasses.replace(work, checkpoint=tmp_path / "again"))
    assert again.onnx == outcome.onnx
    other = dataclasses.replace(work, checkpoint=tmp_path / "baseline", arm=BASELINE)
    baseline = trained(other, events)
    assert baseline.onnx != outcome.onnx
    # Both start from the same weights and inputs, and nothing but the clean loss counts yet.
    assert first[0]["loss"]["total"] == events[0]["loss"]["total"]
    assert "slack" not in events[-1]["loss"]


def test_training_goes_on_from_its_checkpoint(work: TrainingWork, tmp_path: Path) -> None:
    whole = trained(dataclasses.replace(work, checkpoint=tmp_path / "whole"))
    steps: list[Mapping[str, Any]] = []
    halted = train_arm(work, lambda: len(steps) >= 8, steps.append)
    assert halted.cancelled
    assert halted.result["best_epoch"] == 1
    rest: list[Mapping[str, Any]] = []
    resumed = trained(work, rest)
    assert rest[0]["metrics"] == steps[6]["metrics"] is not None
    assert rest[1]["step"] == steps[-1]["step"] + 1
    assert resumed.onnx == whole.onnx
    assert resumed.validation_indices == whole.validation_indices


def test_a_network_is_fine_tuned_and_keeps_its_graph(work: TrainingWork, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.random((60, 2), dtype=np.float32)
    data = write_data(tmp_path / "two.npz", x, (x[:, 1] > x[:, 0]).astype(np.int64))
    network = write_two_class(tmp_path / "n.onnx")
    tuned = changed(
        dataclasses.replace(work, network=network, network_name="two", dataset=data),
        architecture=None,
        normalization={"mean": [0.5], "std": [0.5]},
    )
    outcome = trained(tuned)
    before, after = load_network(network), load_network(outcome.onnx)
    assert after.input_shape == before.input_shape
    assert [type(node.operator) for node in after.graph.nodes] == [
        type(node.operator) for node in before.graph.nodes
    ]
    assert outcome.onnx != network.read_bytes()


def test_the_network_certifies_with_the_figures_of_its_training(
    work: TrainingWork, tmp_path: Path
) -> None:
    outcome = trained(changed(work, epochs=6, epsilon=0.02, optimiser={"learning_rate": 0.01}))
    (tmp_path / "trained.onnx").write_bytes(outcome.onnx)
    assert outcome.validation_indices is not None
    asked = CertificationWork(
        network=tmp_path / "trained.onnx",
        network_name="trained",
        dataset=work.dataset,
        dataset_name="digits",
        settings={**SETTINGS, "epsilon": 0.02, "methods": ["crown-ibp"]},
        indices=outcome.validation_indices,
        device="cpu",
    )
    items = list(certify(asked, lambda: False))
    verified = sum((entry["lower"].get("crown-ibp") or 0.0) > 0 for entry in items)
    right = sum(entry["predicted"] == entry["label"] for entry in items)
    best = outcome.result["best"]
    assert verified / len(items) == pytest.approx(best["certified_accuracy"])
    assert right / len(items) == pytest.approx(best["clean_accuracy"])
    assert 0.1 < best["certified_accuracy"] < best["clean_accuracy"]


def test_data_of_its_own_validates(work: TrainingWork, digits: Path) -> None:
    outcome = trained(dataclasses.replace(work, validation=digits, validation_name="others"))
    assert outcome.validation_indices is None
    record = outcome.result["record"]
    assert record["split"] == {"validation": "others"}
    assert record["data"]["training"]["count"] == 400


def test_what_cannot_be_trained_is_refused(work: TrainingWork, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="610 parameters; this server trains at most 600"):
        trained(dataclasses.replace(work, max_parameters=600))
    gap = write_data(tmp_path / "gap.npz", np.zeros((30, 4), np.float32), [0, 2] * 15)
    with pytest.raises(UntrainableError, match="no input of class 1"):
        trained(dataclasses.replace(work, dataset=gap))
    tiny = write_data(tmp_path / "tiny.npz", np.zeros((1, 4), np.float32), [1])
    with pytest.raises(InvalidInputError, match="leave none to train on"):
        trained(dataclasses.replace(work, dataset=tiny))
