"""Evidence judged anew, on the wire: checks of stored proofs, counterexamples run again."""

from __future__ import annotations

from pydantic import Field

from api.schemas.base import Wire, example

__all__ = ["CounterexampleReplay", "ProofCheck"]


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


class CounterexampleReplay(Wire):
    """What came of running a stored counterexample again."""

    model_config = example(
        {
            "confirmed": True,
            "reason": None,
            "answer": 4,
            "margin": -0.0312,
            "difference": 0.0,
            "seconds": 0.2,
        }
    )

    confirmed: bool = Field(
        description="Whether its input lies in the region that was asked about and its outputs, "
        "by onnxruntime, change the answer, both exactly."
    )
    reason: str | None = Field(description="Why not; null where it was confirmed.")
    answer: int | None = Field(
        description="The class of the largest output; the label itself where another ties with it."
    )
    margin: float | None = Field(description="Of the label over the others that count, at most 0.")
    difference: float | None = Field(
        description="Largest distance of an output from the one that is stored; null where those "
        "are of another number."
    )
    seconds: float = Field(description="How long it took, with all that had to be read.")
