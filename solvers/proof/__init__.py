"""Proofs that a small independent checker accepts."""

from solvers.proof.asked import AskedCase
from solvers.proof.container import (
    Ball,
    Balls,
    BoundGroup,
    Common,
    Duals,
    InputTree,
    NeuronTree,
    Planes,
    Proof,
    ProofError,
    ProofFormatError,
    Windows,
    read_proof,
)
from solvers.proof.network import CheckedNetwork
from solvers.proof.onnx_file import UnsupportedProofError
from solvers.proof.parts import PARTS, check_proof, core_words, read_network
from solvers.proof.rooting import bound_boxes, root_bounds
from solvers.proof.stated import CheckResult, Deployment
from solvers.proof.writing import write_proof

__all__ = [
    "PARTS",
    "AskedCase",
    "Ball",
    "Balls",
    "BoundGroup",
    "CheckResult",
    "CheckedNetwork",
    "Common",
    "Deployment",
    "Duals",
    "InputTree",
    "NeuronTree",
    "Planes",
    "Proof",
    "ProofError",
    "ProofFormatError",
    "UnsupportedProofError",
    "Windows",
    "bound_boxes",
    "check_proof",
    "core_words",
    "read_network",
    "read_proof",
    "root_bounds",
    "write_proof",
]
