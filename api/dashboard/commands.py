"""What a form asks for as commands: the request to the interface, and the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.dashboard.fields import place_of
from api.schemas.base import Wire
from api.schemas.certifications import CertificationCreate, QuestionBase
from api.schemas.comparisons import ComparisonCreate
from api.schemas.trainings import TrainingCreate

__all__ = ["OPTIONS", "Commands", "Names", "commands_of"]

_QUESTION = {
    "epsilon": "--epsilon",
    "methods": "--methods",
    "count": "--count",
    "norm": "--norm",
    "targets": "--targets",
    "timeout_seconds": "--timeout",
    "valid_range": "--valid-range",
    "normalization.mean": "--mean",
    "normalization.std": "--std",
    "seed": "--seed",
}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "certify": _QUESTION,
    "compare": _QUESTION,
    "train": {
        "method": "--method",
        "epsilon": "--epsilon",
        "epochs": "--epochs",
        "feasibility_weight": "--feasibility-weight",
        "slack_weight": "--slack-weight",
        "feasibility_form": "--feasibility-form",
        "feasibility_share": "--feasibility-share",
        "loss_fusion": "--no-loss-fusion",
        "batch_size": "--batch-size",
        "seed": "--seed",
        "deterministic": "--deterministic",
        "valid_range": "--valid-range",
        "normalization.mean": "--mean",
        "normalization.std": "--std",
        "initialisation": "--initialisation",
        "optimiser.kind": "--optimiser",
        "optimiser.learning_rate": "--learning-rate",
        "optimiser.schedule": "--schedule",
        "optimiser.milestones": "--milestones",
        "optimiser.decay": "--decay",
        "optimiser.weight_decay": "--weight-decay",
        "optimiser.gradient_clip": "--gradient-clip",
        "ramp.warm_up": "--warm-up",
        "ramp.ramp": "--ramp",
        "ramp.kappa": "--kappa",
        "ramp.kappa_start": "--kappa-start",
        "ramp.epsilon_factor": "--epsilon-factor",
        "adversary.steps": "--attack-steps",
        "adversary.box_share": "--box-share",
        "adversary.mixture": "--mixture",
        "augmentation.crop": "--crop",
        "augmentation.flip": "--flip",
        "selection.certified_by": "--certified-by",
        "selection.patience": "--patience",
        "selection.share": "--validation-share",
        "selection.count": "--validation-count",
    },
}
"""Which option of a command says what a place of the body says."""

# What is said even where it is as usual: it is what matters, or commands take it to be otherwise.
_ALWAYS = frozenset({"epsilon", "methods", "method", "epochs", "count"})
# Where an option has a word for nothing.
_NULLABLE = frozenset({"valid_range"})
# What only the service has: jobs that wait, and answers of others.
_OF_SERVICE = frozenset({"priority", "webhook.url", "reuse", "name", "proof_timeout_seconds"})
_FILES = frozenset(
    {"network_id", "dataset_id", "baseline_id", "candidate_ids", "architecture", "baseline",
     "proofs", "proof_timeout_seconds"}
)  # fmt: skip
_WIDTH = 84


@dataclass(frozen=True)
class Names:
    """What files are called, by id, and how many inputs a data set has."""

    files: Mapping[str, str]
    counts: Mapping[str, int]

    def of(self, identifier: str | None) -> str:
        """Return the name of a file, for a shell."""
        return shlex.quote(self.files.get(identifier or "", identifier or ""))


@dataclass(frozen=True)
class Commands:
    """What to copy.

    Attributes:
        curl: The request.
        line: The command of the command line, which does the same to files.
        missing: What the command line has no option for, by place in the body.
    """

    curl: str
    line: str
    missing: Sequence[str]


def commands_of(create: Wire, names: Names, base: str, *, key: bool) -> Commands:
    """Return a body as commands.

    Args:
        create: The body.
        names: Of the files that it names.
        base: Address of the service.
        key: Whether the service asks for a key.
    """
    kind, command = _KINDS[type(create)]
    said = dict(_said(create))
    options = OPTIONS[command]
    known = {*options, *_FILES, *_OF_SERVICE}
    missing = [
        place
        for place, value in said.items()
        if place not in known or (value is None and place not in _NULLABLE)
    ]
    told = {place: option for place, option in options.items() if place not in missing}
    parts = [f"tightrope {command}", *_files(create, names), *_line(create, said, told, names)]
    return Commands(_curl(create, f"{base}/v1/{kind}s", key=key), _wrapped(parts), missing)


_KINDS: Mapping[type[Wire], tuple[str, str]] = {
    CertificationCreate: ("certification", "certify"),
    ComparisonCreate: ("comparison", "compare"),
    TrainingCreate: ("training", "train"),
}


def _said(create: Wire) -> Iterator[tuple[str, Any]]:
    """Yield what a body says that is not as usual, groups with their places after a dot."""
    for name, value in create.model_dump(mode="json", exclude_defaults=True).items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", entry) for inner, entry in value.items())
        else:
            yield name, value


def _curl(create: Wire, address: str, *, key: bool) -> str:
    body = json.dumps(create.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
    parts = ["curl", "-H 'Content-Type: application/json'"]
    if key:
        parts.insert(1, '-H "Authorization: Bearer $TIGHTROPE_API_KEY"')
    return _wrapped([*parts, f"-d {shlex.quote(body)}", shlex.quote(address)])


def _files(create: Wire, names: Names) -> Iterator[str]:
    """Yield the options that name files."""
    match create:
        case CertificationCreate():
            yield f"--network {names.of(create.network_id)}"
            yield f"--data {names.of(create.dataset_id)}"
        case ComparisonCreate():
            yield f"--baseline {names.of(create.baseline_id)}"
            yield from (f"--candidate {names.of(one)}" for one in create.candidate_ids)
            yield f"--data {names.of(create.dataset_id)}"
        case TrainingCreate():
            if create.network_id is None:
                yield f"--architecture {create.architecture}"
            else:
                yield f"--network {names.of(create.network_id)}"
            yield f"--data {names.of(create.dataset_id)}"
            yield "--out trained.onnx"
            if create.baseline:
                yield "--baseline-out baseline.onnx"


def _line(
    create: Wire, said: Mapping[str, Any], options: Mapping[str, str], names: Names
) -> Iterator[str]:
    """Yield the options that say how."""
    for place, option in options.items():
        if place == "count" and isinstance(create, QuestionBase):
            yield f"{option} {create.count or names.counts.get(create.dataset_id, 1)}"
        elif place in _ALWAYS or place in said:
            value = said.get(place, place_of(type(create), place)[1])
            yield from _option(option, value)
    if isinstance(create, CertificationCreate) and create.proofs:
        yield f"--proofs proofs --proof-timeout {create.proof_timeout_seconds:g}"


def _option(option: str, value: object) -> Iterator[str]:
    match value:
        case bool():
            yield option
        case None:
            yield f"{option} none"
        case [*_]:
            yield f"{option} {','.join(_plain(entry) for entry in value)}"
        case _:
            yield f"{option} {_plain(value)}"


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else shlex.quote(str(value))


def _wrapped(parts: Sequence[str]) -> str:
    """Return words over as many lines as they need, each but the last ending in a backslash."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) < _WIDTH:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}")
    return " \\\n".join(lines)
