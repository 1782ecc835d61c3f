"""What each command was asked, once its options are parsed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BenchArguments",
    "CertifyArguments",
    "CompareArguments",
    "QuestionArguments",
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
class QuestionArguments(CommonArguments):
    """What is asked of networks; `timeout` is in seconds and per input."""

    data: str
    split: str
    epsilon: float
    norm: str
    count: int
    methods: tuple[str, ...]
    targets: tuple[int, ...] | None
    timeout: float
    valid_range: tuple[float, float] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class CertifyArguments(QuestionArguments):
    """Arguments of `certify`."""

    network: Path
    json: Path | None
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class CompareArguments(QuestionArguments):
    """Arguments of `compare`."""

    baseline: Path
    candidate: tuple[Path, ...]
    json: Path | None
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class VerifyArguments(CommonArguments):
    """Arguments of `verify`; `timeout` is in seconds."""

    network: Path
    specification: Path
    timeout: float
    json: Path | None
    vnncomp: Path | None


@dataclass(frozen=True, kw_only=True)
class BenchArguments(CommonArguments):
    """Arguments of `bench`; `timeout` in seconds replaces that of every instance."""

    instances: Path
    timeout: float | None
    json: Path | None
