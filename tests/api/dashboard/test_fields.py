"""Texts of forms become bodies of the interface and back, and what is wrong stands at its field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from api.dashboard.fields import Form, fill, initial_texts, place_of, texts_of
from api.dashboard.job_forms import CERTIFICATION, COMPARISON, TRAINING
from api.dashboard.settings import KEY, PROJECT
from api.dashboard.texts import Kind

FORMS: tuple[Form[Any], ...] = (CERTIFICATION, COMPARISON, TRAINING)
NETWORK, OTHER, DATA = "net_" + "1" * 26, "net_" + "2" * 26, "dat_" + "1" * 26
NAMED = {
    "certification": {"network_id": [NETWORK], "dataset_id": [DATA]},
    "comparison": {"baseline_id": [NETWORK], "candidate_ids": [OTHER], "dataset_id": [DATA]},
    "training": {"dataset_id": [DATA]},
}


def fresh(form: Form[Any], **changes: list[str]) -> dict[str, list[str]]:
    return {**initial_texts(form, NAMED[form.kind]), **changes}


def places(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return every place of a body, those of groups after a dot."""
    found = set()
    for name, info in model.model_fields.items():
        kinds = [kind for kind in (info.annotation, *getattr(info.annotation, "__args__", ()))
                 if isinstance(kind, type) and issubclass(kind, BaseModel)]  # fmt: skip
        found |= places(kinds[0], f"{name}.") if kinds else {prefix + name}
    return found


@pytest.mark.parametrize("form", [*FORMS, KEY, PROJECT], ids=lambda form: form.kind)
def test_every_place_of_a_body_has_a_field(form: Form[Any]) -> None:
    names = [field.name for field in form.fields]
    assert len(names) == len(set(names))
    # Limits of single keys are for the command line.
    left = {one for one in places(form.model) if not one.startswith("limits.")}
    assert set(names) == left
    for field in form.fields:
        assert form.hint(field), field.name
        assert field.label


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.kind)
def test_a_fresh_form_asks_something(form: Form[Any]) -> None:
    filled = fill(form, fresh(form))
    assert filled.problems == {}
    assert filled.create is not None
    body = filled.create.model_dump(mode="json")
    again = fill(form, texts_of(form, body))
    assert again.create == filled.create


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.kind)
def test_what_is_usual_is_that_of_the_interface(form: Form[Any]) -> None:
    texts = initial_texts(form, NAMED[form.kind])
    for field in form.fields:
        default = place_of(form.model, field.name)[1]
        if field.initial is None and default is not None and field.name not in NAMED[form.kind]:
            create = fill(form, texts).create
            said: Any = create.model_dump(mode="json") if create is not None else {}
            for step in field.name.split("."):
                said = said[step]
            assert said == default, field.name


def test_empty_may_be_an_answer() -> None:
    filled = fill(CERTIFICATION, fresh(CERTIFICATION, valid_range=[""], count=[" "]))
    assert filled.create is not None
    assert filled.create.valid_range is None
    assert filled.create.count is None
    filled = fill(CERTIFICATION, fresh(CERTIFICATION, timeout_seconds=[""]))
    assert filled.create is not None
    assert filled.create.timeout_seconds == 60
    trained = fill(TRAINING, fresh(TRAINING, **{"optimiser.gradient_clip": [""]})).create
    assert trained is not None
    assert trained.optimiser.gradient_clip is None


@pytest.mark.parametrize(
    ("form", "changes", "field", "words"),
    [
        (CERTIFICATION, {"network_id": [""]}, "network_id", "needed"),
        (CERTIFICATION, {"epsilon": ["0,03"]}, "epsilon", "“0,03” is no number"),
        (CERTIFICATION, {"epsilon": ["-1"]}, "epsilon", "greater than or equal to 0"),
        (CERTIFICATION, {"epsilon": ["1e999"]}, "epsilon", "finite"),
        (CERTIFICATION, {"count": ["2.5"]}, "count", "no whole number"),
        (CERTIFICATION, {"count": ["9" * 5000]}, "count", "no whole number"),
        (CERTIFICATION, {"methods": []}, "methods", "at least 1"),
        (CERTIFICATION, {"methods": ["nonsense"]}, "methods", "This should be"),
        (CERTIFICATION, {"targets": ["1, x"]}, "targets", "separate them by commas"),
        (CERTIFICATION, {"valid_range": ["1"]}, "valid_range", "at least 2"),
        (CERTIFICATION, {"valid_range": ["1 2 3"]}, "valid_range", "at most 2"),
        (CERTIFICATION, {"valid_range": ["1, 1"]}, "", "low < high"),
        (CERTIFICATION, {"indices": ["1"]}, "", "count or indices"),
        (CERTIFICATION, {"normalization.mean": ["0.1"]}, "normalization.std", "needed"),
        (CERTIFICATION, {"priority": ["99"]}, "priority", "less than or equal to 10"),
        (COMPARISON, {"candidate_ids": [OTHER, OTHER]}, "", "must not repeat"),
        (TRAINING, {"network_id": [NETWORK]}, "", "and not both"),
        (TRAINING, {"ramp.warm_up": ["0.9"]}, "ramp.warm_up", "at most 1 is left"),
        (TRAINING, {"architecture": ["rm -rf"]}, "architecture", "not one of those"),
        (TRAINING, {"comparison.methods": []}, "comparison.methods", "at least 1"),
    ],
)
def test_what_is_wrong_stands_at_its_field(
    form: Form[Any], changes: dict[str, list[str]], field: str, words: str
) -> None:
    filled = fill(form, fresh(form, **changes))
    assert filled.create is None
    assert list(filled.problems) == [field]
    assert words in filled.problems[field]
    for name, texts in changes.items():
        assert filled.texts[name] == texts


def test_a_link_fills_fields_in() -> None:
    texts = initial_texts(TRAINING, {"network_id": [NETWORK], "nonsense": ["x"]})
    assert texts["network_id"] == [NETWORK]
    assert texts["architecture"] == []
    assert "nonsense" not in texts
    assert initial_texts(TRAINING, {})["architecture"] == ["cnn-small"]


@given(st.dictionaries(st.sampled_from([field.name for field in CERTIFICATION.fields]),
                       st.lists(st.text(max_size=20), max_size=3)))  # fmt: skip
def test_no_text_is_too_much(sent: dict[str, list[str]]) -> None:
    filled = fill(CERTIFICATION, sent)
    assert (filled.create is None) == bool(filled.problems)


@given(st.floats(0, 1e6), st.lists(st.integers(0, 10**9), min_size=1, unique=True, max_size=5))
def test_numbers_come_back_as_they_went(epsilon: float, targets: list[int]) -> None:
    body = {"network_id": NETWORK, "dataset_id": DATA, "epsilon": epsilon, "targets": targets,
            "methods": ["crown"]}  # fmt: skip
    filled = fill(CERTIFICATION, texts_of(CERTIFICATION, body))
    assert filled.create is not None
    assert filled.create.epsilon == pytest.approx(epsilon, rel=1e-14)
    assert filled.create.targets == targets


def test_kinds_are_all_used() -> None:
    assert {field.kind for form in FORMS for field in form.fields} == set(Kind)
