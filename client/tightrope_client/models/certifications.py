"""Certifications: what is asked, and what comes out input by input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from tightrope_client.models.jobs import JobBase, Webhook
from tightrope_client.models.uploads import Reference
from tightrope_client.wire import Asked, Received

__all__ = [
    "Certification",
    "CertificationSettings",
    "CounterexampleReplay",
    "Item",
    "Normalization",
    "ProofCheck",
    "Question",
    "Region",
    "Summary",
]


class Normalization(Asked):
    """(x − mean) / std, applied to raw inputs: one number each, or one per channel."""

    mean: Sequence[float]
    std: Sequence[float]


class Question(Asked):
    """What is asked of networks: which inputs, which regions, by which methods.

    What is not set is left to the server's defaults.

    Attributes:
        dataset_id: Inputs and labels.
        epsilon: Radius of the region, in raw input units.
        norm: `inf`, `2` or `1`.
        methods: All of them run, on every input.
        timeout_seconds: Per input, for the exact search and for each other method.
        valid_range: `[low, high]` that the region is cut to; None leaves it whole.
        targets: Labels that the answer must not change to; None for every other one.
        count: Only the first so many inputs.
        indices: Only these inputs; excludes `count`.
        normalization: Where the network does not do it itself.
        seed: Of the attack.
        reuse: Whether an earlier answer to the same question will do.
        priority: Among the jobs of the project; higher ones go first.
        webhook: Where to tell that the answer is there.
        proofs: Whether verified inputs are to be proved, and the proofs kept; of certifications.
        proof_timeout_seconds: Per verified input, for its proof.
    """

    dataset_id: str
    epsilon: float
    norm: str = "inf"
    methods: Sequence[str] = ("ibp", "crown", "alpha-crown", "exact")
    timeout_seconds: float = 60.0
    valid_range: Sequence[float] | None = (0.0, 1.0)
    targets: Sequence[int] | None = None
    count: int | None = None
    indices: Sequence[int] | None = None
    normalization: Normalization | None = None
    seed: int = 0
    reuse: bool = True
    proofs: bool = False
    proof_timeout_seconds: float = 60.0
    priority: int = 0
    webhook: Webhook | None = None


class Region(Received):
    """The inputs asked about, around each input of the data set."""

    norm: str
    epsilon: float
    valid_range: list[float] | None


class CertificationSettings(Received):
    """How it is computed."""

    methods: list[str]
    timeout_seconds: float
    targets: list[int] | None
    indices: list[int]
    normalization: dict[str, Any] | None
    seed: int
    proof_timeout_seconds: float | None = None


class Summary(Received):
    """The figures of the whole set; shares lie in [0, 1], None where nothing is known.

    Attributes:
        clean_accuracy: Right on the input itself.
        empirical_accuracy: Right, and no counterexample found.
        certified_accuracy: Right, and proved for the whole region, by method.
        certified_gap: Empirical minus certified accuracy.
        evidence: How many verdicts are `checked`, rest on a `solver`, or on `none`.
        deployment_sound: Verified inputs known to withstand float32 rounding too.
    """

    count: int
    clean_accuracy: float | None
    empirical_accuracy: float | None
    certified_accuracy: dict[str, float | None]
    certified_gap: float | None
    mean_gap: dict[str, float | None]
    falsified: int
    unknown: int
    evidence: dict[str, int] = Field(default_factory=dict)
    deployment_sound: int = 0
    seconds: float

    @property
    def verified_accuracy(self) -> float | None:
        """Share of inputs with the verdict `verified`, by whatever method.

        Every input that is classified right is verified, falsified or unknown.
        """
        if not self.count or self.clean_accuracy is None:
            return None
        right = round(self.clean_accuracy * self.count)
        return max(0, right - self.falsified - self.unknown) / self.count


class Certification(JobBase):
    """A certification: what was asked, how far it is, and, once it has succeeded, `summary`."""

    network: Reference
    dataset: Reference
    region: Region
    settings: CertificationSettings
    summary: Summary | None


class Item(Received):
    """The answer for one input.

    Attributes:
        index: Position in the data set.
        verdict: `verified`, `falsified`, `unknown` or `misclassified`.
        evidence: `checked`, `solver` or `none`.
        lower: Bound of each method on the margin; `upper` is the best upper bound.
        exact: Bracket of the exact search.
        counterexample: `x` and `y`, flat in row-major order.
        reason: Why the verdict is `unknown`.
        status, reasons: How each method ended, and why it is not `done`.
        deployment_sound: Whether the verdict survives float32 rounding; None: not assessed.
        proof: What became of proving a `verified`, where that was asked for.
    """

    index: int
    label: int | None
    predicted: int | None
    verdict: str
    evidence: str
    lower: dict[str, float | None]
    upper: float | None
    exact: list[float | None] | None
    gap: dict[str, float | None]
    seconds: dict[str, float | None]
    counterexample: dict[str, Any] | None
    reason: str | None
    status: dict[str, str] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)
    deployment_sound: bool | None = None
    proof: dict[str, Any] | None = None


class ProofCheck(Received):
    """What the server's checker says of a stored proof.

    Attributes:
        accepted: Whether it shows what was asked about the input.
        reason: Why not.
        statement: What is proved, in words.
        leaves: Parts into which it cuts the question.
        margin: Least margin that is proved in any of them.
        deployment_margin: What float32 inference leaves of it; None where that is not known.
    """

    accepted: bool
    reason: str | None
    statement: list[str]
    leaves: int
    margin: float | None
    deployment_margin: float | None
    seconds: float


class CounterexampleReplay(Received):
    """What came of running a stored counterexample again.

    Attributes:
        confirmed: Whether it lies in the region, and its outputs change the answer.
        reason: Why not.
        answer: The class of the largest output; the label itself where another ties with it.
        margin: Of the label over the others that count, at most 0.
        difference: Largest distance of an output from the stored one.
    """

    confirmed: bool
    reason: str | None
    answer: int | None
    margin: float | None
    difference: float | None
    seconds: float
