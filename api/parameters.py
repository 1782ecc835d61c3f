"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query

from api.schemas.base import Name

__all__ = [
    "ArtifactName",
    "CertificationId",
    "ComparisonId",
    "ContentHash",
    "IdempotencyKey",
    "JobId",
    "TrainingId",
    "UploadName",
    "WaitSeconds",
]

_EXAMPLE = "01jr3v7q9k2m4n6p8r0s2t4v6w"

JobId = Annotated[str, Path(description="Of the job.", examples=[f"job_{_EXAMPLE}"])]
CertificationId = Annotated[
    str, Path(description="Of the certification.", examples=[f"job_{_EXAMPLE}"])
]
ComparisonId = Annotated[str, Path(description="Of the comparison.", examples=[f"job_{_EXAMPLE}"])]
TrainingId = Annotated[str, Path(description="Of the training.", examples=[f"job_{_EXAMPLE}"])]
ArtifactName = Annotated[str, Path(description="Of the file.", examples=["network.onnx"])]
ContentHash = Annotated[
    str | None,
    Query(pattern=r"^[0-9a-f]{64}$", description="Only of this content: its SHA-256."),
]
UploadName = Annotated[Name | None, Query(description="Name for people; else the file's own.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Send the same key with a repeated request to get the first one's result.",
    ),
]
WaitSeconds = Annotated[
    float,
    Query(
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Hold the answer for at most so many seconds, until the state changes.",
    ),
]
