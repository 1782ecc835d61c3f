"""The words of training are those of the engine, which the service must not load."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from api.schemas import training_options
from api.schemas.trainings import (
    ARCHITECTURE_PATTERN,
    ArmName,
    EpochMetrics,
    InitialisationName,
    TrainingCreate,
    TrainingOptionsWire,
)
from models.architectures import ARCHITECTURES, Initialisation, architecture
from models.errors import InvalidInputError
from solvers.methods import BOUND_METHODS
from training import (
    AdversaryOptions,
    AugmentationOptions,
    FeasibilityForm,
    LearningRateSchedule,
    OptimiserKind,
    OptimiserOptions,
    RampOptions,
    SelectionOptions,
    TrainingMethod,
    TrainingOptions,
)
from training import EpochMetrics as EngineMetrics
from worker.trainer import options_of
from worker.work import BASELINE, CANDIDATE

ASKED: dict[str, Any] = {
    "architecture": "mlp:8",
    "dataset_id": "dat_00000000000000000000000000",
    "epsilon": 0.1,
    "epochs": 3,
}
# Decided by the worker, not by who asks.
OF_THE_WORKER = {"device", "checkpoint_seconds"}


def create(**changes: object) -> TrainingCreate:
    return TrainingCreate.model_validate({**ASKED, **changes})


@pytest.mark.parametrize(
    ("wire", "engine"),
    [
        (training_options.TrainingMethodName, TrainingMethod),
        (training_options.FeasibilityFormName, FeasibilityForm),
        (training_options.OptimiserName, OptimiserKind),
        (training_options.ScheduleName, LearningRateSchedule),
        (InitialisationName, Initialisation),
    ],
)
def test_names_are_those_of_the_engine(wire: object, engine: Any) -> None:  # noqa: ANN401
    assert list(get_args(wire)) == [entry.value for entry in engine]


def test_certified_accuracy_is_measured_by_bound_methods() -> None:
    assert set(get_args(training_options.CertifiedByName)) <= set(BOUND_METHODS)
    assert set(get_args(ArmName)) == {CANDIDATE, BASELINE}


def test_architectures_are_those_there_are() -> None:
    for name in (*ARCHITECTURES, "mlp:8", "mlp:100,20,3"):
        assert create(architecture=name).architecture == name
    named = re.findall(r"[a-z]+-?[a-z]*[0-9]?(?=[|])", ARCHITECTURE_PATTERN)
    assert set(named) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ["mlp", "mlp:", "mlp:0", "mlp:8,", "mlp:-3", "resnet", ""])
def test_other_architectures_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        create(architecture=name)
    with pytest.raises(InvalidInputError):
        architecture(name)


@pytest.mark.parametrize(
    ("wire", "engine"),
    [
        (TrainingOptionsWire, TrainingOptions),
        (training_options.Optimiser, OptimiserOptions),
        (training_options.Ramp, RampOptions),
        (training_options.Adversary, AdversaryOptions),
        (training_options.Augmentation, AugmentationOptions),
        (training_options.Selection, SelectionOptions),
        (EpochMetrics, EngineMetrics),
    ],
)
def test_fields_are_those_of_the_engine(wire: Any, engine: Any) -> None:  # noqa: ANN401
    assert set(wire.model_fields) == {entry.name for entry in fields(engine)} - OF_THE_WORKER


def test_defaults_are_those_of_the_engine() -> None:
    settings = create().model_dump(mode="json")
    expected = TrainingOptions(method=TrainingMethod.CROWN_IBP, epsilon=0.1, epochs=3, device="cpu")
    assert options_of(settings, arm=CANDIDATE, device="cpu") == expected


def test_a_baseline_differs_by_its_regularizers_alone() -> None:
    settings = create(feasibility_weight=0.5, slack_weight=0.25, seed=7, baseline=True).model_dump(
        mode="json"
    )
    candidate = options_of(settings, arm=CANDIDATE, device="cpu").to_json()
    baseline = options_of(settings, arm=BASELINE, device="cpu").to_json()
    different = {name for name in candidate if candidate[name] != baseline[name]}
    assert different == {"feasibility_weight", "slack_weight"}
    assert (baseline["feasibility_weight"], baseline["slack_weight"]) == (0.0, 0.0)


def test_every_setting_arrives() -> None:
    settings = create(
        method="sabr",
        feasibility_form="objective",
        feasibility_share=0.5,
        valid_range=None,
        optimiser={"kind": "sgd", "milestones": [0.5], "gradient_clip": None},
        ramp={"warm_up": 0.0, "kappa": 0.5},
        adversary={"steps": 3},
        augmentation={"flip": True},
        selection={"certified_by": "ibp", "patience": 2, "share": 0.2},
    ).model_dump(mode="json")
    options = options_of(settings, arm=CANDIDATE, device="cpu")
    assert options.method is TrainingMethod.SABR
    assert options.feasibility_form is FeasibilityForm.OBJECTIVE
    assert options.feasibility_share == 0.5
    assert options.valid_range is None
    assert options.optimiser.kind is OptimiserKind.SGD
    assert options.optimiser.milestones == (0.5,)
    assert options.optimiser.gradient_clip is None
    assert (options.ramp.warm_up, options.ramp.kappa) == (0.0, 0.5)
    assert options.adversary.steps == 3
    assert options.augmentation.flip
    assert options.selection.certified_by == "ibp"
    assert (options.selection.patience, options.selection.share) == (2, 0.2)
