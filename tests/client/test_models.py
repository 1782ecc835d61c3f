"""The client's models are the server's: every field, and nothing lost on the way."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from api.schemas import (
    access,
    certifications,
    comparisons,
    jobs,
    problem,
    proofs,
    trainings,
    uploads,
    webhooks,
)
from tests.client.wire import values_of
from tightrope_client import Question, models
from tightrope_client.models import TrainingRequest
from tightrope_client.models.trainings import ArtifactList, MetricPage

RECEIVED: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (uploads.NetworkPublic, models.Network),
    (uploads.DatasetPublic, models.Dataset),
    (jobs.JobPublic, models.Job),
    (jobs.Progress, models.Progress),
    (problem.Problem, models.Problem),
    (certifications.CertificationPublic, models.Certification),
    (certifications.Item, models.Item),
    (certifications.Summary, models.Summary),
    (proofs.ProofCheck, models.ProofCheck),
    (proofs.CounterexampleReplay, models.CounterexampleReplay),
    (comparisons.ComparisonPublic, models.Comparison),
    (comparisons.ComparedCandidate, models.ComparedCandidate),
    (comparisons.VerdictChange, models.VerdictChange),
    (trainings.TrainingPublic, models.Training),
    (trainings.ArmResult, models.ArmResult),
    (trainings.MetricPage, MetricPage),
    (trainings.ArtifactList, ArtifactList),
    (access.KeyPublic, models.Key),
    (access.KeyMade, models.MadeKey),
    (access.Limits, models.KeyLimits),
    (webhooks.Delivery, models.Delivery),
    (webhooks.WebhookSecret, models.WebhookSecret),
]
ASKED: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (certifications.CertificationCreate, Question),
    (certifications.Normalization, models.Normalization),
    (trainings.TrainingCreate, TrainingRequest),
    (access.KeyCreate, models.KeyRequest),
]
NAMES = [theirs.__name__ for theirs, _ in RECEIVED]
START, END = "2030-01-31T12:00:00Z", "2030-01-31T13:00:00+01:00"


@pytest.mark.parametrize(("theirs", "ours"), [*RECEIVED, *ASKED])
def test_every_field_is_known(theirs: type[BaseModel], ours: type[BaseModel]) -> None:
    """What fails here is a field that `client/tightrope_client/models/` lacks, or has too many."""
    # A question is asked of networks, which are named beside it.
    beside = {"network_id"} if ours is Question else set()
    assert set(ours.model_fields) == set(theirs.model_fields) - beside


def same(one: object, other: object) -> bool:
    """Return whether two JSON-like values say the same; moments may be written differently."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(value, other.get(key)) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str) and isinstance(other, str) and one != other:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    return one == other


@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@pytest.mark.parametrize(("theirs", "ours"), RECEIVED, ids=NAMES)
@given(data=st.data())
def test_nothing_that_the_server_says_is_lost(
    theirs: type[BaseModel], ours: type[BaseModel], data: st.DataObject
) -> None:
    said = data.draw(values_of(theirs))
    text = json.dumps(said)
    read = ours.model_validate_json(text)
    assert same(said, read.model_dump(mode="json"))
    again = ours.model_validate_json(read.model_dump_json())
    assert again == read


@settings(max_examples=25)
@given(data=st.data())
def test_what_a_newer_server_adds_is_kept(data: st.DataObject) -> None:
    said = data.draw(values_of(uploads.NetworkPublic)) | {"licence": {"name": "MIT"}}
    read: Any = models.Network.model_validate_json(json.dumps(said))
    assert read.licence == {"name": "MIT"}


def test_moments_are_compared_as_moments() -> None:
    assert same({"a": [START, 1]}, {"a": [END, 1.0], "b": 2})
    assert not same({"a": START}, {"a": "2030-01-31T12:00:01Z"})
    assert not same([1], [1, 2])


def test_only_what_was_set_is_sent() -> None:
    asked = Question(dataset_id="dat_1", epsilon=0.1)
    assert asked.body() == {"dataset_id": "dat_1", "epsilon": 0.1}
    normal = models.Normalization(mean=(0.5,), std=[2.0])
    full = Question(
        dataset_id="dat_1", epsilon=0.1, valid_range=None, methods=("crown",), normalization=normal
    )
    assert full.body() == {
        "dataset_id": "dat_1",
        "epsilon": 0.1,
        "valid_range": None,
        "methods": ["crown"],
        "normalization": {"mean": [0.5], "std": [2.0]},
    }
    certifications.CertificationCreate.model_validate(
        {**full.body(), "dataset_id": "dat_" + "0" * 26, "network_id": "net_" + "0" * 26}
    )


def test_a_misspelt_question_is_refused_here() -> None:
    with pytest.raises(ValidationError, match="epsilom"):
        Question(dataset_id="dat_1", epsilon=0.1, epsilom=0.2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("figures", "share"),
    [
        ({"count": 10, "clean_accuracy": 0.9, "falsified": 2, "unknown": 3}, 0.4),
        ({"count": 3, "clean_accuracy": 2 / 3, "falsified": 1, "unknown": 0}, 1 / 3),
        ({"count": 0, "clean_accuracy": None, "falsified": 0, "unknown": 0}, None),
    ],
)
def test_what_is_right_and_neither_falsified_nor_unknown_is_verified(
    figures: dict[str, Any], share: float | None
) -> None:
    plain = {
        "empirical_accuracy": None,
        "certified_accuracy": {},
        "certified_gap": None,
        "mean_gap": {},
        "seconds": 0.0,
    }
    assert models.Summary.model_validate({**plain, **figures}).verified_accuracy == share
