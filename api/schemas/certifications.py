"""Certifications on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.config import JsonDict

from api.schemas.base import Cursor, Wire, example
from api.schemas.jobs import JOB_EXAMPLE, JobBase, Priority
from api.schemas.webhooks import WebhookField
from store.identifiers import IDENTIFIER_PATTERN

__all__ = [
    "CertificationCreate",
    "CertificationPage",
    "CertificationPublic",
    "CertificationReport",
    "CertificationSettings",
    "Item",
    "ItemPage",
    "MethodName",
    "MethodStatusName",
    "NormName",
    "Normalization",
    "QuestionBase",
    "Reference",
    "Region",
    "Summary",
    "VerdictName",
]

# The words of the mathematics, written out since this process must not load it; tests compare.
MethodName = Literal[
    "ibp",
    "crown-ibp",
    "forward",
    "forward+backward",
    "fast-lin",
    "crown",
    "alpha-crown",
    "fastc2v",
    "alpha-fastc2v",
    "lp",
    "optc2v",
    "sdp",
    "exact",
]
VerdictName = Literal["verified", "falsified", "unknown", "misclassified"]
EvidenceName = Literal["checked", "solver", "none"]
MethodStatusName = Literal["done", "unsupported", "timeout", "cancelled", "memory", "failed"]

NormName = Literal["inf", "2", "1"]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]
_UNIQUE: JsonDict = {"uniqueItems": True}

_NETWORK_ID = "net_01jr3v7q9k2m4n6p8r0s2t4v6w"
_DATASET_ID = "dat_01jr3v7q9k2m4n6p8r0s2t4v6w"


class Normalization(Wire):
    """(x − mean) / std, applied to raw inputs before the network runs."""

    mean: list[Finite] = Field(min_length=1, max_length=4096, examples=[[0.1307]])
    std: list[Annotated[Finite, Field(gt=0)]] = Field(
        min_length=1, max_length=4096, examples=[[0.3081]]
    )

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} stds; give as many")
        return self


class QuestionBase(Wire):
    """What is asked of networks: which inputs, which regions, by which methods."""

    dataset_id: str = Field(pattern=IDENTIFIER_PATTERN, description="Inputs and labels.")
    epsilon: Annotated[Finite, Field(ge=0)] = Field(
        description="Radius of the region, in raw input units."
    )
    norm: NormName = Field("inf", description="Norm of the region: L∞, L2 or L1.")
    methods: list[MethodName] = Field(
        ["ibp", "crown", "alpha-crown", "exact"],
        min_length=1,
        max_length=12,
        json_schema_extra=_UNIQUE,
        description="All of them run, on every input.",
    )
    timeout_seconds: Annotated[Finite, Field(gt=0, le=86_400)] = Field(
        60.0, description="Per input: for the exact search, and for each other method."
    )
    valid_range: list[Finite] | None = Field(
        [0.0, 1.0],
        min_length=2,
        max_length=2,
        description="The region is cut to it; null leaves the region whole.",
    )
    targets: list[Index] | None = Field(
        None,
        min_length=1,
        max_length=100_000,
        json_schema_extra=_UNIQUE,
        description="Labels that the answer must not change to; null means every other one.",
    )
    count: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="Only the first so many inputs; null means all."
    )
    indices: list[Index] | None = Field(
        None,
        min_length=1,
        max_length=100_000,
        json_schema_extra=_UNIQUE,
        description="Only these inputs, counted from 0; excludes `count`.",
    )
    normalization: Normalization | None = Field(
        None, description="Where the network expects normalised inputs and does not do it itself."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Of the attack.")
    reuse: bool = Field(
        True, description="Take over answers to the same questions that were found before."
    )
    priority: Priority = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.count is not None and self.indices is not None:
            raise ValueError("give count or indices, not both")
        if self.valid_range is not None and not self.valid_range[0] < self.valid_range[1]:
            raise ValueError("valid_range must be [low, high] with low < high")
        for name in ("methods", "targets", "indices"):
            values = getattr(self, name)
            if values is not None and len(set(values)) != len(values):
                raise ValueError(f"{name} must not repeat an entry")
        return self


class CertificationCreate(QuestionBase):
    """Within `epsilon` of each of these inputs, can the network's answer change?"""

    model_config = example(
        {
            "network_id": _NETWORK_ID,
            "dataset_id": _DATASET_ID,
            "epsilon": 0.03,
            "methods": ["ibp", "crown", "alpha-crown", "exact"],
            "count": 100,
            "timeout_seconds": 60,
        }
    )

    network_id: str = Field(pattern=IDENTIFIER_PATTERN, description="What to certify.")
    proofs: bool = Field(
        False, description="Prove every verified input, have the proofs checked, and keep them."
    )
    proof_timeout_seconds: Annotated[Finite, Field(gt=0, le=86_400)] = Field(
        60.0, description="Per verified input, for its proof, where `proofs` asks for it."
    )
    webhook: WebhookField = None


class Reference(Wire):
    """A network or data set that a job refers to."""

    id: str
    name: str
    sha256: str


class Region(Wire):
    """The inputs asked about, around each input of the data set."""

    norm: NormName
    epsilon: float
    valid_range: list[float] | None


class CertificationSettings(Wire):
    """How it is computed."""

    methods: list[MethodName]
    timeout_seconds: float
    targets: list[int] | None
    indices: list[int]
    normalization: Normalization | None
    seed: int
    proof_timeout_seconds: float | None = Field(
        None, description="Per verified input, for its proof; null where none was asked for."
    )


class Summary(Wire):
    """The figures of the whole set; shares lie in [0, 1], null where there is nothing to share."""

    count: int
    clean_accuracy: float | None
    empirical_accuracy: float | None
    certified_accuracy: dict[str, float | None]
    certified_gap: float | None
    mean_gap: dict[str, float | None]
    falsified: int
    unknown: int
    evidence: dict[str, int] = Field(
        default_factory=dict, description="Inputs by evidence: `checked`, `solver` or `none`."
    )
    deployment_sound: int = Field(
        0, description="Verified inputs that are known to withstand float32 rounding too."
    )
    seconds: float


class CertificationPublic(JobBase):
    """A certification: what was asked, how far it is, and what came out."""

    model_config = example(
        {
            **JOB_EXAMPLE,
            "state": "succeeded",
            "progress": {"done": 100, "total": 100},
            "finished_at": "2030-01-31T12:03:20Z",
            "network": {"id": _NETWORK_ID, "name": "mnist-small.onnx", "sha256": "9f86d0…"},
            "dataset": {"id": _DATASET_ID, "name": "mnist-test-100.npz", "sha256": "2c26b4…"},
            "region": {"norm": "inf", "epsilon": 0.03, "valid_range": [0.0, 1.0]},
            "settings": {
                "methods": ["crown", "exact"],
                "timeout_seconds": 60.0,
                "targets": None,
                "indices": [0, 1, 2],
                "normalization": None,
                "seed": 0,
            },
            "summary": {
                "count": 100,
                "clean_accuracy": 0.98,
                "empirical_accuracy": 0.93,
                "certified_accuracy": {"crown": 0.71, "exact": 0.93},
                "certified_gap": 0.0,
                "mean_gap": {"crown": 1.3, "exact": 0.0},
                "falsified": 5,
                "unknown": 0,
                "evidence": {"checked": 98, "solver": 2, "none": 0},
                "deployment_sound": 91,
                "seconds": 81.2,
            },
        }
    )

    network: Reference
    dataset: Reference
    region: Region
    settings: CertificationSettings
    summary: Summary | None = Field(description="Once it has succeeded.")


class CertificationPage(Wire):
    """Certifications, newest first."""

    items: list[CertificationPublic]
    next_cursor: Cursor


class Item(Wire):
    """The answer for one input. Numbers that are not finite are null."""

    model_config = example(
        {
            "index": 0,
            "label": 7,
            "predicted": 7,
            "verdict": "verified",
            "evidence": "solver",
            "lower": {"crown": 1.25},
            "upper": 2.75,
            "exact": [2.5, 2.5],
            "gap": {"crown": 1.25, "exact": 0.0},
            "seconds": {"crown": 0.02, "exact": 1.4},
            "counterexample": None,
            "reason": None,
            "status": {"crown": "done", "exact": "done"},
            "reasons": {},
            "deployment_sound": None,
            "proof": None,
        }
    )

    index: int = Field(description="Position in the data set.")
    label: int | None = Field(description="Null only for inputs that were given up.")
    predicted: int | None
    verdict: VerdictName
    evidence: EvidenceName
    lower: dict[str, float | None] = Field(description="Bound of each method on the margin.")
    upper: float | None = Field(description="Best upper bound on the margin.")
    exact: list[float | None] | None = Field(description="Bracket `[lo, hi]` of the exact search.")
    gap: dict[str, float | None]
    seconds: dict[str, float | None]
    counterexample: dict[str, Any] | None = Field(
        description="`x` and `y`, flat in row-major order, for `falsified`."
    )
    reason: str | None = Field(description="Why the verdict is `unknown`.")
    status: dict[str, MethodStatusName] = Field(
        default_factory=dict, description="How each method ended on this input."
    )
    reasons: dict[str, str] = Field(
        default_factory=dict, description="Why a method is not `done`, in words."
    )
    deployment_sound: bool | None = Field(
        None, description="Whether the verdict survives float32 rounding; null: not assessed."
    )
    proof: dict[str, Any] | None = Field(
        None, description="What became of proving a `verified`, where that was asked for."
    )


class ItemPage(Wire):
    """Answers, in the order of the data set."""

    items: list[Item]
    next_cursor: Cursor


class CertificationReport(Wire):
    """The whole report, as `tightrope certify --json` writes it."""

    network: dict[str, Any]
    region: dict[str, Any]
    settings: dict[str, Any]
    summary: Summary
    items: list[Item]
