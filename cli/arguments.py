"""What each command was asked, once its options are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BenchArguments",
    "CertifyArguments",
    "CheckArguments",
    "CompareArguments",
    "InputArguments",
    "LearnArguments",
    "QuestionArguments",
    "RadiusArguments",
    "TrainArguments",
    "TuneArguments",
    "VerifyArguments",
]


@dataclass(frozen=True, kw_only=True)
class CommonArguments:
    """What every computing command takes.

    Attributes:
        device: `cpu`, `cuda` or `auto`.
        seed: Of attacks.
        quiet: No progress, and no more output than the answer.
    """

    device: str
    seed: int
    quiet: bool


@dataclass(frozen=True, kw_only=True)
class InputArguments(CommonArguments):
    """What is asked about inputs of a data set; `timeout` is in seconds and per input."""

    data: str
    split: str
    norm: str
    count: int
    targets: tuple[int, ...] | None
    timeout: float
    valid_range: tuple[float, float] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class QuestionArguments(InputArguments):
    """What is asked of networks within a region of each input."""

    epsilon: float
    methods: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CertifyArguments(QuestionArguments):
    """Arguments of `certify`; `proof_timeout` is in seconds and per verified input."""

    network: Path
    json: Path | None
    html: Path | None
    junit: Path | None
    sarif: Path | None
    proofs: Path | None
    proof_timeout: float


@dataclass(frozen=True, kw_only=True)
class RadiusArguments(InputArguments):
    """Arguments of `radius`."""

    network: Path
    max_epsilon: float | None
    tolerance: float
    relative_tolerance: float
    json: Path | None
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class CompareArguments(QuestionArguments):
    """Arguments of `compare`."""

    baseline: Path
    candidate: tuple[Path, ...]
    json: Path | None
    html: Path | None
    junit: Path | None
    sarif: Path | None


@dataclass(frozen=True, kw_only=True)
class VerifyArguments(CommonArguments):
    """Arguments of `verify`; times are in seconds, `proof_timeout` on top of `timeout`."""

    network: Path
    specification: Path
    timeout: float
    json: Path | None
    proof: Path | None
    proof_timeout: float
    counterexample: Path | None
    vnncomp: Path | None


@dataclass(frozen=True, kw_only=True)
class CheckArguments(CommonArguments):
    """Arguments of `check`.

    Attributes:
        evidence: The file to check.
        network: That it is about.
        specification: What must have been proved; None to say what was.
        mean, std: Of the inputs, per channel or one number, where something outside of the
            network's file normalises them.
        exact: Whether to check a proof in exact arithmetic as well.
    """

    evidence: Path
    network: Path
    specification: Path | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    exact: bool
    json: Path | None


@dataclass(frozen=True, kw_only=True)
class LearnArguments(CommonArguments):
    """What `train` and `tune` are asked alike.

    Attributes:
        network, architecture: What to train; one of them is given.
        initialisation: Of the weights of an architecture.
        data: A source of data sets.
        count: How many training inputs to use; None for all.
        mean, std: Of the inputs, per channel or one number.
        settings: Options of the training engine, by group as in `TrainingOptions`.
    """

    network: Path | None
    architecture: str | None
    initialisation: str
    data: str
    count: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    settings: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class TrainArguments(LearnArguments):
    """Arguments of `train`.

    Attributes:
        out, baseline_out: Where the networks go.
        checkpoint: Folder to go on from and to write to.
        json, csv, html: Reports.
    """

    out: Path
    baseline_out: Path | None
    checkpoint: Path | None
    json: Path | None
    csv: Path | None
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class TuneArguments(LearnArguments):
    """Arguments of `tune`.

    Attributes:
        trials: How many weights to try.
        feasibility_range, slack_range: Smallest and largest λ and γ.
        out: Folder of the sweep.
        json, html: Reports.
    """

    trials: int
    feasibility_range: tuple[float, float]
    slack_range: tuple[float, float]
    out: Path
    json: Path | None
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class BenchArguments(CommonArguments):
    """Arguments of `bench`; times are in seconds, `timeout` replaces that of every instance."""

    instances: Path
    timeout: float | None
    json: Path | None
    proofs: Path | None
    proof_timeout: float
