"""Whether a gate is passed: figures against limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tightrope_client.errors import UnexpectedResponseError
from tightrope_client.gate.arguments import TIGHTEST, VERDICT, GateArguments
from tightrope_client.models import Certification, Comparison, Summary

__all__ = ["Check", "Outcome", "certified_share", "judge", "percent"]

# Shares are counts over at most 2**31 inputs; what differs by less is the same count.
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Check:
    """One condition.

    Attributes:
        name: Of what is measured; stable, for programs.
        value: What it came to; None where nothing is known, which fails.
        limit: What it is held against.
        words: Both, for people.
    """

    name: str
    passed: bool
    value: float | None
    limit: float
    words: str


@dataclass(frozen=True)
class Outcome:
    """What a gate came to.

    Attributes:
        job: That answered.
        url: Of its report.
        network, baseline: Names.
        summary, before: Figures of the network and of the baseline.
        gained, lost: Inputs that are verified for one of both only.
        method: What certified accuracy means.
    """

    job: Certification | Comparison
    url: str
    network: str
    summary: Summary
    checks: Sequence[Check]
    method: str
    baseline: str | None = None
    before: Summary | None = None
    gained: Sequence[int] = ()
    lost: Sequence[int] = ()

    @property
    def passed(self) -> bool:
        """Whether every condition holds."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-like values."""
        before = None if self.before is None else self.before.model_dump(mode="json")
        return {
            "passed": self.passed,
            "checks": [vars(check) for check in self.checks],
            "method": self.method,
            "network": self.network,
            "baseline": self.baseline,
            "dataset": self.job.dataset.model_dump(mode="json"),
            "region": self.job.region.model_dump(mode="json"),
            "summary": self.summary.model_dump(mode="json"),
            "baseline_summary": before,
            "gained": list(self.gained),
            "lost": list(self.lost),
            "job": {"id": self.job.id, "cached": self.job.cached, "report": self.url},
        }


def judge(job: Certification | Comparison, arguments: GateArguments, *, url: str) -> Outcome:
    """Return what a finished job means for the gate.

    Args:
        job: That has succeeded.
        arguments: The limits.
        url: Of its report.

    Raises:
        UnexpectedResponseError: It has no figures.
    """
    if isinstance(job, Comparison):
        if job.result is None:
            raise UnexpectedResponseError(f"{job.id} has succeeded without a result")
        candidate, before = job.result.candidates[0], job.result.baseline
        return Outcome(
            job=job,
            url=url,
            network=candidate.name,
            summary=candidate.summary,
            checks=_checks(candidate.summary, before.summary, arguments),
            method=arguments.method,
            baseline=before.name,
            before=before.summary,
            gained=candidate.gained,
            lost=candidate.lost,
        )
    if job.summary is None:
        raise UnexpectedResponseError(f"{job.id} has succeeded without a summary")
    checks = _checks(job.summary, None, arguments)
    return Outcome(job, url, job.network.name, job.summary, checks, arguments.method)


def certified_share(summary: Summary, method: str) -> float | None:
    """Return certified accuracy in the sense of a method; None where nothing is known.

    Args:
        summary: The figures.
        method: `verdict` for inputs that any method proves, `tightest` for those of the method
            that proves most, or a method's name.
    """
    if method == VERDICT:
        return summary.verified_accuracy
    if method == TIGHTEST:
        shares = [share for share in summary.certified_accuracy.values() if share is not None]
        return max(shares, default=None)
    return summary.certified_accuracy.get(method)


def percent(share: float | None) -> str:
    """Return a share for people."""
    return "–" if share is None else f"{100 * share:.2f} %"


def _checks(summary: Summary, before: Summary | None, arguments: GateArguments) -> list[Check]:
    found = []
    share = certified_share(summary, arguments.method)
    if arguments.min_certified is not None:
        found.append(_least("certified-accuracy", share, arguments.min_certified))
    if arguments.min_clean is not None:
        found.append(_least("clean-accuracy", summary.clean_accuracy, arguments.min_clean))
    if before is not None:
        found.append(_drop(share, certified_share(before, arguments.method), arguments.max_drop))
    return found


def _least(name: str, value: float | None, limit: float) -> Check:
    passed = value is not None and value >= limit - _TOLERANCE
    relation = "is at least" if passed else "is below"
    words = f"{name.replace('-', ' ')} {percent(value)} {relation} {percent(limit)}"
    return Check(name, passed, value, limit, words)


def _drop(value: float | None, before: float | None, limit: float) -> Check:
    """Return the condition on the loss; what was not known before cannot be lost."""
    drop = None if value is None or before is None else before - value
    passed = drop is not None and drop <= limit + _TOLERANCE
    change = "is not known" if drop is None else f"changed by {100 * (0.0 - drop):+.2f} points"
    words = (
        f"certified accuracy {change} against the baseline's {percent(before)}; "
        f"a drop of {100 * limit:.2f} is allowed"
    )
    return Check("drop", passed, drop, limit, words)
