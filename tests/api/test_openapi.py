"""The OpenAPI document is complete, and the service does what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from api.app import create_app
from api.schemas import certifications, comparisons, jobs, problem, trainings, uploads
from store.keys import Scope
from tests.helpers.api import Api
from tests.helpers.service import service_settings


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get("/openapi.json").json()
    return found


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names)) > 20
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert set(operation["tags"]) <= tags, where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{where}: {parameter['name']}"


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        responses = operation["responses"]
        assert {"500", "503"} <= set(responses), where
        assert any(status.startswith("2") for status in responses), where
        if "{" in path:
            assert "404" in responses, where
        for status, response in responses.items():
            if status >= "4":
                content = response["content"]
                assert list(content) == ["application/problem+json"], f"{where} {status}"
                assert content["application/problem+json"]["example"]["status"] == int(status)


def test_what_is_referred_to_exists(document: dict[str, Any]) -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for entry in value.values():
                yield from references(entry)
        elif isinstance(value, list):
            for entry in value:
                yield from references(entry)

    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_requests_and_resources_have_examples(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in (
        "CertificationCreate", "ComparisonCreate", "TrainingCreate", "TrainingPublic",
        "NetworkPublic", "DatasetPublic", "JobPublic", "Problem",
    ):  # fmt: skip
        assert schemas[name]["examples"], name


def test_examples_are_valid() -> None:
    for module in (certifications, comparisons, jobs, problem, trainings, uploads):
        for value in vars(module).values():
            extra = getattr(value, "model_config", {}).get("json_schema_extra")
            for example in (extra or {}).get("examples", []):
                value.model_validate_json(json.dumps(example))


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_service_does_what_its_document_says(api: Api, mode: GenerationMode) -> None:
    """Left out is also the check that keys are asked for, since here they are not."""
    keep_to_the_document(api, mode, excluded=[positive_data_acceptance, ignored_auth])


def test_the_service_does_so_with_keys(guarded: Api) -> None:
    """Every operation is asked without a key, with a wrong one, and with a right one."""
    keep_to_the_document(
        guarded,
        GenerationMode.POSITIVE,
        excluded=[positive_data_acceptance],
        headers={"Authorization": f"Bearer {guarded.key(Scope.ADMIN).token}"},
        examples=2,
    )


def keep_to_the_document(
    api: Api,
    mode: GenerationMode,
    *,
    excluded: list[Any],
    headers: dict[str, str] | None = None,
    examples: int = 8,
) -> None:
    """Check that random requests, good and bad, get documented answers of the documented form.

    Left out is the check that everything of the right form is accepted: an id may lead nowhere and
    an index lie outside the data set.
    """
    url = f"{api.client.base_url}/openapi.json"
    schema = schemathesis.openapi.from_url(url, headers=headers or {})
    schema.config.generation.update(with_security_parameters=False)
    # A body that is too large is turned away before anybody looks at what is in it.
    rejection = schema.config.checks.negative_data_rejection
    rejection.expected_statuses = [*rejection.expected_statuses, "413"]
    api.world.finish()
    api.world.compare()
    api.world.train()
    checked = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path == "/v1/events":
            continue  # never ends

        @settings(schemathesis_settings, max_examples=examples)
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, excluded_checks=excluded)

        # Some operations take nothing that could be wrong.
        with suppress(Unsatisfiable):
            given(operation.as_strategy(generation_mode=mode))(check)()
            checked += 1
    assert checked > (20 if mode is GenerationMode.POSITIVE else 8)


schemathesis_settings = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_the_document_does_not_depend_on_settings(api: Api, document: dict[str, Any]) -> None:
    other = create_app(service_settings(api.world.settings.data_dir / "other"))
    assert other.openapi() == document
