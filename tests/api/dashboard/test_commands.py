"""Commands ask for what a form says: the request as a shell sends it, the line as it reads it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click
import pytest

from api.dashboard.commands import OPTIONS, Names, commands_of
from api.schemas.base import Wire
from api.schemas.certifications import CertificationCreate
from api.schemas.comparisons import ComparisonCreate
from api.schemas.trainings import TrainingCreate
from cli.commands import tightrope

NETWORK, OTHER, DATA = "net_" + "1" * 26, "net_" + "2" * 26, "dat_" + "1" * 26
NAMES = Names({NETWORK: "my net.onnx", OTHER: "$(rm).onnx", DATA: "d.npz"}, {DATA: 70})
BASE = "http://127.0.0.1:8000"


def certification(**changes: object) -> CertificationCreate:
    body = {"network_id": NETWORK, "dataset_id": DATA, "epsilon": 0.03, **changes}
    return CertificationCreate.model_validate(body)


def comparison() -> ComparisonCreate:
    body = {"baseline_id": NETWORK, "candidate_ids": [OTHER], "dataset_id": DATA, "epsilon": 0.1}
    return ComparisonCreate.model_validate(body)


def training(**changes: object) -> TrainingCreate:
    body = {"architecture": "cnn-small", "dataset_id": DATA, "epsilon": 0.1, "epochs": 3, **changes}
    return TrainingCreate.model_validate(body)


def words(create: Wire) -> list[str]:
    return shlex.split(commands_of(create, NAMES, BASE, key=False).line)


def option(line: list[str], name: str) -> str:
    return line[line.index(name) + 1]


@pytest.mark.parametrize("command", list(OPTIONS))
def test_options_are_those_of_the_command_line(command: str) -> None:
    context = click.Context(tightrope)
    found = tightrope.get_command(context, command)
    assert found is not None
    known = {name for one in found.params for name in (*one.opts, *one.secondary_opts)}
    assert set(OPTIONS[command].values()) <= known


@pytest.mark.parametrize(
    "create",
    [
        certification(),
        certification(valid_range=None, targets=[1, 2], norm="2", webhook={"url": "http://a/'b'"}),
        comparison(),
        training(optimiser={"kind": "sgd"}, valid_range=None, name="it's"),
    ],
)
def test_the_request_asks_for_the_same(create: Wire) -> None:
    line = shlex.split(commands_of(create, NAMES, BASE, key=False).curl)
    assert line[0] == "curl"
    assert type(create).model_validate(json.loads(option(line, "-d"))) == create
    assert line[-1].startswith(f"{BASE}/v1/")
    assert "Authorization" not in " ".join(line)


def test_the_request_has_a_key_where_one_is_asked_for() -> None:
    curl = commands_of(certification(), NAMES, BASE, key=True).curl
    assert '"Authorization: Bearer $TIGHTROPE_API_KEY"' in curl


def test_a_certification_on_the_command_line() -> None:
    line = words(certification(norm="2", valid_range=None, proofs=True, proof_timeout_seconds=5,
                               normalization={"mean": [0.1], "std": [0.3]}))  # fmt: skip
    assert line[:2] == ["tightrope", "certify"]
    said = {
        "--network": "my net.onnx", "--data": "d.npz", "--epsilon": "0.03", "--count": "70",
        "--methods": "ibp,crown,alpha-crown,exact", "--norm": "2", "--valid-range": "none",
        "--mean": "0.1", "--std": "0.3", "--proofs": "proofs", "--proof-timeout": "5",
    }  # fmt: skip
    assert {name: option(line, name) for name in said} == said
    assert option(words(certification(count=7)), "--count") == "7"


def test_names_are_quoted() -> None:
    create = comparison()
    text = commands_of(create, NAMES, BASE, key=False).line
    assert "'$(rm).onnx'" in text
    assert option(words(create), "--candidate") == "$(rm).onnx"


def test_a_training_on_the_command_line() -> None:
    line = words(
        training(
            feasibility_weight=0.5, baseline=True, loss_fusion=False, deterministic=True,
            optimiser={"learning_rate": 1e-3, "milestones": [0.5, 0.75]},
            augmentation={"flip": True, "crop": 2},
        )
    )  # fmt: skip
    said = {
        "--architecture": "cnn-small", "--method": "crown-ibp", "--epochs": "3",
        "--feasibility-weight": "0.5", "--learning-rate": "0.001", "--milestones": "0.5,0.75",
        "--crop": "2", "--out": "trained.onnx", "--baseline-out": "baseline.onnx",
    }  # fmt: skip
    assert {name: option(line, name) for name in said} == said
    assert {"--no-loss-fusion", "--deterministic", "--flip"} <= set(line)
    assert "--baseline-out" not in words(training())
    assert option(words(training(architecture=None, network_id=NETWORK)), "--network")


@pytest.mark.parametrize(
    ("create", "missing"),
    [
        (certification(), []),
        (certification(reuse=False, priority=3), []),
        (certification(indices=[3]), ["indices"]),
        (training(optimiser={"momentum": 0.5}), ["optimiser.momentum"]),
        (training(optimiser={"gradient_clip": None}), ["optimiser.gradient_clip"]),
        (training(validation_id=DATA), ["validation_id"]),
    ],
)
def test_what_the_command_line_lacks_is_told(create: Wire, missing: list[str]) -> None:
    commands = commands_of(create, NAMES, BASE, key=False)
    assert commands.missing == missing
    for place in missing:
        assert OPTIONS["train"].get(place, "--no-such-option") not in commands.line


def test_lines_are_short() -> None:
    text: Any = commands_of(training(slack_weight=0.5, name="x"), NAMES, BASE, key=True)
    for line in text.line.splitlines():
        assert len(line) <= 100
