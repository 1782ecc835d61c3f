"""Options, schedules and seeds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInputError
from solvers.methods import Method
from tests.helpers.training import options
from training import (
    CERTIFIED_BY,
    AdversaryOptions,
    AugmentationOptions,
    LearningRateSchedule,
    OptimiserKind,
    OptimiserOptions,
    RampOptions,
    SelectionOptions,
    TrainingMethod,
    TrainingOptions,
)
from training.optimisers import build_optimiser
from training.schedules import learning_rate, ramp_ends, stage_at
from training.seeds import mixed_seed, stream


def test_options_survive_json() -> None:
    full = options(
        "sabr",
        feasibility_weight=0.5,
        valid_range=None,
        optimiser=OptimiserOptions(kind=OptimiserKind.SGD, milestones=(0.3, 0.6)),
        selection=SelectionOptions(certified_by=Method.CROWN, patience=3),
        augmentation=AugmentationOptions(crop=2),
    )
    text = json.dumps(full.to_json())
    assert TrainingOptions.from_json(json.loads(text)) == full
    assert json.loads(text)["optimiser"]["kind"] == "sgd"


def test_what_is_absent_takes_its_default() -> None:
    read = TrainingOptions.from_json({"method": "ibp", "epsilon": 0.1, "epochs": 3})
    assert read == TrainingOptions(method=TrainingMethod.IBP, epsilon=0.1, epochs=3)
    assert not read.regularised


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epsilom": 1}, "no setting 'epsilom' of training"),
        ({"ramp": {"warmup": 0.1}}, "no setting 'warmup' of ramp"),
        ({"method": "ibp!"}, "cannot be read"),
        ({"method": "ibp"}, "cannot be read"),
        ({"method": "ibp", "epsilon": "x", "epochs": 1}, "cannot be read"),
    ],
)
def test_settings_that_cannot_be_read(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        TrainingOptions.from_json(values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"feasibility_weight": -1.0}, "feasibility weight is -1"),
        ({"slack_weight": float("inf")}, "slack weight is inf"),
        ({"feasibility_share": 1.5}, "share of inputs"),
        ({"seed": -1}, "seed is -1"),
        ({"valid_range": (1.0, 0.0)}, "valid range"),
        ({"checkpoint_seconds": 0.0}, "time between checkpoints"),
    ],
)
def test_options_out_of_range(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        options(**changes)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (OptimiserOptions, {"learning_rate": 0.0}, "learning rate is 0"),
        (OptimiserOptions, {"gradient_clip": 0.0}, "largest gradient norm"),
        (OptimiserOptions, {"momentum": 2.0}, "momentum is 2"),
        (OptimiserOptions, {"milestones": (0.5, 1.0)}, "milestones"),
        (OptimiserOptions, {"weight_decay": -1.0}, "weight decay"),
        (RampOptions, {"warm_up": 0.6, "ramp": 0.6}, "at most 1"),
        (RampOptions, {"kappa": 1.1}, "kappa is 1.1"),
        (RampOptions, {"epsilon_factor": 0.0}, "factor on epsilon"),
        (AdversaryOptions, {"steps": 0}, "at least one step"),
        (AdversaryOptions, {"mixture": -0.1}, "mixture"),
        (AugmentationOptions, {"crop": -1}, "random crops"),
        (SelectionOptions, {"patience": 0}, "patience is 0"),
        (SelectionOptions, {"share": 1.0}, "share of validation"),
        (SelectionOptions, {"certified_by": Method.EXACT}, "cannot be measured by exact"),
    ],
)
def test_groups_out_of_range(kind: type[Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        kind(**changes)


def test_every_method_is_certified_by_something() -> None:
    assert set(CERTIFIED_BY) == set(TrainingMethod)
    chosen = SelectionOptions(certified_by=Method.CROWN)
    assert options("ibp").certified_by is Method.IBP
    assert options("ibp", selection=chosen).certified_by is Method.CROWN


# --- schedules ----------------------------------------------------------------------------------


@given(
    steps=st.integers(1, 60),
    warm_up=st.floats(0, 0.5),
    ramp=st.floats(0, 0.5),
    factor=st.floats(0.5, 2),
)
def test_the_ramp_grows_and_arrives(steps: int, warm_up: float, ramp: float, factor: float) -> None:
    settings = options(
        epsilon=0.2,
        feasibility_weight=0.5,
        slack_weight=2.0,
        ramp=RampOptions(warm_up, ramp, kappa=0.8, kappa_start=0.1, epsilon_factor=factor),
    )
    stages = [stage_at(step, steps, settings) for step in range(steps)]
    for name in ("epsilon", "kappa", "feasibility", "slack"):
        values = [getattr(stage, name) for stage in stages]
        assert values == sorted(values)
    last = ramp_ends(steps, settings)
    for stage in stages[last:]:
        assert stage.epsilon == pytest.approx(0.2 * factor)
        assert stage.kappa == pytest.approx(0.8)
        assert (stage.feasibility, stage.slack) == (0.5, 2.0)
    for step in range(int(warm_up * steps)):
        assert stages[step] == stage_at(0, steps, settings)
    # One step of grace: shares rarely fall between two steps.
    assert last <= (warm_up + ramp) * steps + 1


def test_without_a_ramp_everything_is_there_from_the_start() -> None:
    stage = stage_at(0, 10, options(ramp=RampOptions(0.0, 0.0), slack_weight=1.0))
    assert (stage.epsilon, stage.kappa, stage.slack) == (0.05, 1.0, 1.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LearningRateSchedule.CONSTANT, [1.0, 1.0, 1.0, 1.0]),
        (LearningRateSchedule.STEP, [1.0, 1.0, 0.1, 0.01]),
        (LearningRateSchedule.LINEAR, [1.0, 0.75, 0.5, 0.25]),
        (LearningRateSchedule.COSINE, [1.0, 0.853553, 0.5, 0.146447]),
    ],
)
def test_learning_rates(schedule: LearningRateSchedule, expected: list[float]) -> None:
    settings = OptimiserOptions(
        learning_rate=1.0, schedule=schedule, milestones=(0.5, 0.75), decay=0.1
    )
    found = [learning_rate(step, 4, settings) for step in range(4)]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", list(OptimiserKind))
def test_optimisers_take_their_settings(kind: OptimiserKind) -> None:
    leaf = torch.ones(3, requires_grad=True)
    settings = OptimiserOptions(kind=kind, learning_rate=0.1, weight_decay=0.01, momentum=0.5)
    optimiser = build_optimiser([leaf], settings)
    (group,) = optimiser.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.01)
    assert group.get("momentum", 0.5) == 0.5
    assert type(optimiser).__name__.lower() == kind


# --- seeds --------------------------------------------------------------------------------------


def test_streams_are_told_apart_by_seed_purpose_and_number() -> None:
    seeds = {
        mixed_seed(seed, purpose, number)
        for seed in range(3)
        for purpose in ("order", "attack")
        for number in range(3)
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_is_always_the_same() -> None:
    first, second = (torch.rand(4, generator=stream(1, "order", 2)) for _ in range(2))
    assert torch.equal(first, second)
    # The very numbers: a checkpoint of today has to go on tomorrow.
    assert mixed_seed(0, "order", 0) == 3955691223199900983
