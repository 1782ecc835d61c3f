"""What a certification or a comparison found, in words: the contents of JUnit XML and of SARIF."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.numbers import finite
from reports.page import number
from reports.summary import bracket

__all__ = ["RULES", "SUCCEEDED", "Ending", "Finding", "Rule", "Side", "finding_of", "radius_text"]

Item = Mapping[str, Any]
_NORMS = {"inf": "L∞", "2": "L2", "1": "L1"}
_REGION_WORDS = "the region"


@dataclass(frozen=True)
class Ending:
    """How the job behind a report ended.

    Attributes:
        state: `succeeded`, `failed` or `cancelled`.
        error: Why it failed.
        missing: Inputs that have no answer.
        started_at: When work on it began.
    """

    state: str = "succeeded"
    error: str | None = None
    missing: Sequence[int] = ()
    started_at: datetime | None = None

    @property
    def words(self) -> str:
        """Why answers are missing."""
        if self.state == "failed":
            return f"the job has failed: {self.error or 'no reason is known'}"
        return f"the job was {self.state}"


SUCCEEDED = Ending()


@dataclass(frozen=True)
class Rule:
    """A kind of finding.

    Attributes:
        level: Of SARIF: `error`, `warning` or `note`.
        title, meaning, advice: For people.
    """

    level: str
    title: str
    meaning: str
    advice: str


# In the order of their weight: where there are too many findings, the last are left out.
RULES: Mapping[str, Rule] = {
    "lost": Rule(
        "error",
        "Verified for the baseline only",
        "The baseline is proved to keep its answer within the region of this input; this network "
        "is not.",
        "See what changed since the baseline, or accept the loss by replacing the baseline.",
    ),
    "falsified": Rule(
        "error",
        "Answer can be changed",
        "A change of the input within the region, found and run again, changes the network's "
        "answer.",
        "Train the network to withstand it, or certify a smaller region.",
    ),
    "misclassified": Rule(
        "warning",
        "Wrong answer",
        "The network's answer on the input itself is not its label.",
        "Check the label; else the network has to become more accurate before it can be robust.",
    ),
    "unknown": Rule(
        "warning",
        "Not decided",
        "Neither a proof nor a counterexample was found in the time allowed. It does not count as "
        "certified.",
        "Allow more time, add tighter methods, or train the network for tight bounds.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One input that is not verified: the rule that it breaks, and how."""

    index: int
    rule: str
    message: str


@dataclass(frozen=True)
class Side:
    """A network and its answers.

    Attributes:
        network: `name`, `sha256`.
        items: As a certification reports them.
    """

    network: Mapping[str, Any]
    items: Sequence[Item]


def radius_text(region: Mapping[str, Any]) -> str:
    """Return the region in a few words, such as `L∞ ε = 0.03`."""
    norm = _NORMS.get(str(region.get("norm")), region.get("norm"))
    return f"{norm} ε = {number(region.get('epsilon'))}"


def finding_of(item: Item, radius: str = _REGION_WORDS) -> Finding | None:
    """Return what is to be said of an input; None where it is verified.

    Args:
        item: As a certification reports it.
        radius: The region in words.
    """
    verdict = str(item.get("verdict"))
    if verdict == "verified":
        return None
    # A verdict that is not known here proves nothing.
    rule = verdict if verdict in _SAYINGS else "unknown"
    label = item.get("label")
    who = f"Input {item.get('index')}, " + ("" if label is None else f"labelled {label}, ")
    return Finding(int(item["index"]), rule, who + _SAYINGS[rule](item, radius))


def _falsified(item: Item, radius: str) -> str:
    answer = _answer_of(item.get("counterexample") or {})
    found = "another answer" if answer is None else f"the answer {answer}"
    margin = finite(item.get("upper"))
    end = "" if margin is None else f"; its margin is {number(margin)}"
    return f"gets {found} by a change within {radius}{end}."


def _misclassified(item: Item, radius: str) -> str:
    del radius
    return f"is classified as {item.get('predicted')} without any change."


def _unknown(item: Item, radius: str) -> str:
    low, high = bracket(item)
    bounds = (finite(bound) for bound in (item.get("lower") or {}).values())
    proved = [bound for bound in (low, *bounds) if bound is not None]
    top = high if high is not None else finite(item.get("upper"))
    why = item.get("reason") or "no reason is known"
    between = f"[{number(max(proved, default=None))}, {number(top)}]"
    return f"is neither proved nor refuted within {radius}: {why}; its margin is in {between}."


_SAYINGS = {
    "falsified": _falsified,
    "misclassified": _misclassified,
    "unknown": _unknown,
}


def _answer_of(counterexample: Mapping[str, Any]) -> int | None:
    """Return the class of a counterexample's outputs, or None where they are not all known."""
    outputs = [finite(value) for value in counterexample.get("y") or ()]
    known = [value for value in outputs if value is not None and math.isfinite(value)]
    return outputs.index(max(known)) if known and len(known) == len(outputs) else None
