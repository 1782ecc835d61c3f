"""Changed proofs: what is accepted is true, decided by rational arithmetic on tiny networks.

`TIGHTROPE_MUTATIONS` sets how many changes are tried; the default suits every run of the tests.
"""

from __future__ import annotations

import collections
import hashlib
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from models.onnx_import import load_network
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Problem, Specification
from solvers.proof import (
    Proof,
    ProofFormatError,
    Windows,
    check_proof,
    read_network,
    read_proof,
    write_proof,
)
from solvers.proof.producing import produce
from solvers.proof.rooting import tree_bounds
from tests.helpers.adversarial import Trap
from tests.helpers.duals import bounded
from tests.helpers.proof_mutations import flipped, mutated
from tests.helpers.proofs import TreeBuilder, proof_of, whole
from tests.helpers.rational import Layer, exact_margin_of
from tests.solvers.proof.support import (
    BY_COMMON_TREE,
    BY_PLANES,
    layers_of,
    proved_by_common_tree,
    proved_by_planes,
)

COUNT = int(os.environ.get("TIGHTROPE_MUTATIONS", "400"))


@dataclass(frozen=True, eq=False)
class Proved:
    """A network, its layers, and a proof of something about it."""

    network: bytes
    layers: tuple[Layer, ...]
    content: bytes


def problem_of(layers: tuple[Layer, ...], generator: np.random.Generator) -> Problem:
    """Return a problem with a small margin, so that proofs have something to do."""
    centre = generator.normal(size=(1, 2))
    region = Box(centre - 0.7, centre + 0.7)
    rows = np.eye(3)[generator.permutation(3)]
    clauses = [Clause(rows[:1], np.zeros(1)), Clause(rows[1:], np.zeros(2))]
    shifted = []
    for clause in clauses:
        least = exact_margin_of(layers, region, Specification((clause,)))
        shifted.append(Clause(clause.matrix, clause.offset + float(least) - 0.02))
    return Problem((Case(region, Specification(tuple(shifted))),))


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> list[Proved]:
    """Proofs by boxes, splits inside the network, dual matrices, planes, windows, common trees."""
    found = []
    patch = pytest.MonkeyPatch()
    for seed in range(6):
        generator = np.random.default_rng(seed)
        layers = layers_of(generator)
        problem = problem_of(layers, generator)
        network = Trap(layers, problem, np.zeros(2, np.float32)).network
        if seed % 2:
            patch.setattr(produce, "suits_boxes", lambda *_: False)
        prover = produce.Prover(load_network(network), "cpu")
        outcome = prover.prove(problem, Budget.of_seconds(300.0))
        patch.undo()
        assert isinstance(outcome, produce.Proven), outcome
        found.append(Proved(network, layers, outcome.content))
    for seed in BY_PLANES:
        trap, layers, content = proved_by_planes(seed)
        found.append(Proved(trap.network, layers, content))
    for seed in BY_COMMON_TREE:
        generator = np.random.default_rng(seed)
        layers = layers_of(generator)
        trap, content = proved_by_common_tree(layers, problem_of(layers, generator))
        found.append(Proved(trap.network, layers, content))
    windows = [by_windows(seed, tmp_path_factory.mktemp("windows")) for seed in range(3)]
    return [*found, *windows, *(by_duals(seed) for seed in range(3))]


def by_duals(seed: int) -> Proved:
    """Return a proof by dual matrices of semidefinite relaxations."""
    generator = np.random.default_rng(seed)
    layers = layers_of(generator)
    region = problem_of(layers, generator).cases[0].region
    given = bounded(layers, region, np.eye(3)[:2])
    prover = produce.Prover(load_network(given.content), "cpu")
    outcome = prover.prove(Problem((given.case,)), Budget.of_seconds(300.0), trace=given.trace)
    assert isinstance(outcome, produce.Proven), outcome
    return Proved(given.content, layers, outcome.content)


def by_windows(seed: int, folder: Path) -> Proved:
    """Return a proof by windows, which leaves as much as is easily lost by changes of it."""
    generator = np.random.default_rng(seed)
    layers = layers_of(generator)
    (case,) = problem_of(layers, generator).cases
    low, high = case.region.lower.ravel(), case.region.upper.ravel()
    network = Trap(layers, Problem((case,)), np.zeros(2, np.float32)).network
    rows, clause = np.eye(3)[:2], np.arange(2)
    builder = TreeBuilder(())
    builder.leaf(0)
    builder.leaf(1)
    slopes = generator.normal(size=(2, 2)).astype(np.float32)
    tree = builder.tree(windows=Windows("z0", np.arange(2, dtype=np.int32), slopes))
    _, found = tree_bounds(read_network(network), low, high, tree, (rows, clause))
    fields = {"matrix": rows, "offset": found - 1e-3, "row_clause": clause.astype(np.int32)}
    fields |= {"row_case": np.zeros(2, np.int32), "trees": (tree,), "tree": whole([1])}
    write_proof(folder / "proof", proof_of(network, low, high, **fields))
    return Proved(network, layers, (folder / "proof").read_bytes())


def states_the_truth(proof: Proof, layers: tuple[Layer, ...]) -> bool:
    """Return whether what a proof says of its network holds, in rational arithmetic."""
    if proof.normalization is not None or proof.balls is not None:
        return False
    for case in range(len(proof.lower)):
        mine = proof.row_case == case
        region = Box(proof.lower[case].reshape(1, 2), proof.upper[case].reshape(1, 2))
        for clause in np.unique(proof.row_clause[mine]):
            rows = mine & (proof.row_clause == clause)
            asked = Specification((Clause(proof.matrix[rows], proof.offset[rows]),))
            if exact_margin_of(layers, region, asked) <= Fraction(0):
                return False
    return True


def test_proofs_of_all_kinds_are_changed(proofs: list[Proved], tmp_path: Path) -> None:
    kinds = set()
    for proved in proofs:
        path = tmp_path / "proof"
        path.write_bytes(proved.content)
        proof = read_proof(path)
        assert check_proof(path, proved.network).accepted
        assert states_the_truth(proof, proved.layers)
        kinds.add((len(proof.trees) > 0, len(proof.tree.dimension) > 1))
        kinds.update(("split", bool((tree.kind == 1).any())) for tree in proof.trees)
        kinds.update(("duals", tree.duals is not None) for tree in proof.trees)
        kinds.update(("common", bool((t.kind == 3).any())) for t in proof.trees if t.common)
        kinds.update(("planes", len(t.groups) > 0) for t in proof.trees if t.planes is not None)
        kinds.update(("windows", tree.windows is not None) for tree in proof.trees)
    wanted = {
        ("windows", True),
        (True, False),
        (False, True),
        ("split", True),
        ("duals", True),
        ("common", True),
    }
    assert wanted | {("planes", True), ("planes", False)} <= kinds


def test_changed_proofs_are_accepted_only_if_they_are_true(
    proofs: list[Proved], tmp_path: Path
) -> None:
    generator = np.random.default_rng(11)
    original, changed = tmp_path / "original", tmp_path / "changed"
    counts: collections.Counter[str] = collections.Counter()
    while counts.total() < COUNT:
        proved = proofs[int(generator.integers(len(proofs)))]
        original.write_bytes(proved.content)
        if generator.random() < 0.3:
            what: str | None = "flip bytes"
            changed.write_bytes(flipped(proved.content, generator))
        else:
            what = mutated(read_proof(original), generator, changed)
        if what is None:
            continue
        network = proved.network
        if generator.random() < 0.02:
            what, network = "other network", proofs[0].network[:-1] + b"\0"
        result = check_proof(changed, network)
        counts["accepted" if result.accepted else "rejected"] += 1
        if not result.accepted:
            assert result.reason
            continue
        proof = read_proof(changed)
        assert hashlib.sha256(network).hexdigest() == proof.network_sha256, what
        assert states_the_truth(proof, proved.layers), what
    print(f"\n{COUNT} changed proofs: {dict(counts)}")  # noqa: T201  shown by pytest -s
    assert counts["rejected"] > COUNT / 4
    assert counts["accepted"] > 0


def test_damaged_files_say_what_is_wrong(proofs: list[Proved], tmp_path: Path) -> None:
    path = tmp_path / "proof"
    content = proofs[0].content
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ProofFormatError, match="proof"):
            read_proof(path)
        assert not check_proof(path, proofs[0].network).accepted
