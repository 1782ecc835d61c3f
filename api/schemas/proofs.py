"""Checks of stored proofs on the wire."""

from __future__ import annotations

from pydantic import Field

from api.schemas.base import Wire, example

__all__ = ["ProofCheck"]


class ProofCheck(Wire):
    """What the independent checker says of a stored proof, asked anew."""

    model_config = example(
        {
            "accepted": True,
            "reason": None,
            "statement": [
                "network with sha256 9f86d081884c7d65…",
                "case 0: for every input with 0.1 <= X_0 <= 0.3",
                "  never Y_0 - Y_1 <= 0",
            ],
            "leaves": 3,
            "margin": 0.0312,
            "deployment_margin": 0.0311,
            "seconds": 0.4,
        }
    )

    accepted: bool = Field(
        description="Whether the proof shows what the certification asked about this input."
    )
    reason: str | None = Field(description="Why not; null where it was accepted.")
    statement: list[str] = Field(description="What is proved, in words.")
    leaves: int = Field(description="Parts into which the proof cuts the question.")
    margin: float | None = Field(description="Least margin that is proved in any of them.")
    deployment_margin: float | None = Field(
        description="What float32 inference leaves of it; null where nothing is known about that."
    )
    seconds: float = Field(description="How long the check took.")
