"""Proofs that a small independent checker accepts."""

from solvers.proof.container import (
    Balls,
    BoundGroup,
    InputTree,
    NeuronTree,
    Proof,
    ProofError,
    ProofFormatError,
    read_proof,
    write_proof,
)

__all__ = [
    "Balls",
    "BoundGroup",
    "InputTree",
    "NeuronTree",
    "Proof",
    "ProofError",
    "ProofFormatError",
    "read_proof",
    "write_proof",
]
