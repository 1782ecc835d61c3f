"""Proofs that a small independent checker accepts."""

from solvers.proof.bounds import Ball
from solvers.proof.checker import (
    AskedCase,
    CheckResult,
    Deployment,
    bound_boxes,
    check_proof,
    root_bounds,
)
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
from solvers.proof.network import CheckedNetwork, UnsupportedProofError

__all__ = [
    "AskedCase",
    "Ball",
    "Balls",
    "BoundGroup",
    "CheckResult",
    "CheckedNetwork",
    "Deployment",
    "InputTree",
    "NeuronTree",
    "Proof",
    "ProofError",
    "ProofFormatError",
    "UnsupportedProofError",
    "bound_boxes",
    "check_proof",
    "read_proof",
    "root_bounds",
    "write_proof",
]
