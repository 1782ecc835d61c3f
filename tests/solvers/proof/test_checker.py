"""What the checker accepts holds; what shows nothing, or something else, is rejected."""

# ruff: noqa: ANN401 - whatever a field may hold
from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.problem import Box, Clause, Specification
from solvers.proof import (
    AskedCase,
    Ball,
    Balls,
    BoundGroup,
    CheckResult,
    InputTree,
    Proof,
    check_proof,
    write_proof,
)
from tests.helpers.networks import model, node
from tests.helpers.proofs import (
    TreeBuilder,
    proof_of,
    random_layers,
    relu_net,
    whole,
)
from tests.helpers.rational import exact_margin_of

Array = NDArray[np.float64]

# y = |x0| + |x1| − |x0 + x1| / 2 + 0.625 over [−1, 1]², with |z| = 2·max(z, 0) − z and the linear
# rest behind a ReLU that is always active. No slopes prove more than −0.375; the truth is 0.625.
HILLS = [
    (np.array([[1, 0], [0, 1], [1, 1], [1, 1]]), np.array([0, 0, 0, 2])),
    (np.array([[2, 2, -1, -0.5]]), np.array([1.625])),
]
CONTENT = relu_net(HILLS)
LOW, HIGH = -np.ones(2), np.ones(2)


def check(tmp_path: Path, proof: Proof, *, content: bytes = CONTENT, **more: Any) -> CheckResult:
    write_proof(tmp_path / "proof", proof)
    return check_proof(tmp_path / "proof", content, **more)


def split_proof(**changes: Any) -> Proof:
    """Return a proof by one split, of x0 + x1 at 0; the second leaf needs its multiplier."""
    builder = TreeBuilder((("z0", 4),))
    builder.split(2)
    builder.leaf(0, alpha=[64, 64, 0, 0])
    builder.leaf(0, alpha=[255, 255, 0, 0], gamma={2: -0.5})
    return proof_of(CONTENT, LOW, HIGH, tree=whole([1]), trees=(builder.tree(**changes),))


def boxes_proof(**changes: Any) -> Proof:
    """Return a proof by four boxes."""
    tree = InputTree(
        np.array([0, 1, -1, -1, 1, -1, -1], np.int32),
        np.array([0.0, np.nan, 0.0]),
        np.zeros(4, np.int32),
    )
    return proof_of(CONTENT, LOW, HIGH, **{"tree": tree, **changes})


def test_bounds_of_the_whole_box_do_not_prove_it(tmp_path: Path) -> None:
    result = check(tmp_path, proof_of(CONTENT, LOW, HIGH))
    assert not result.accepted
    assert "box 0 of case 0, clause 0" in str(result.reason)
    assert result.margin == -np.inf


def test_a_proof_by_boxes_is_accepted(tmp_path: Path) -> None:
    result = check(tmp_path, boxes_proof())
    assert (result.accepted, result.reason, result.leaves) == (True, None, 4)
    assert 0.1249999 < result.margin <= 0.125
    assert "never +1*Y_0 <= 0" in result.statement[2]
    assert "-1 <= X_0 <= 1, -1 <= X_1 <= 1" in result.statement[1]
    assert result.deployment is not None
    assert result.deployment.sound
    assert result.deployment.left == pytest.approx(0.125, abs=1e-4)


def test_a_proof_by_splits_is_accepted(tmp_path: Path) -> None:
    result = check(tmp_path, split_proof())
    assert (result.accepted, result.leaves) == (True, 2), result.reason
    assert 0.6 < result.margin <= 0.625


def test_tightening_carries_a_split_to_later_layers(tmp_path: Path) -> None:
    """y = 0.6 + 2·a0 − relu(a0 + a1 − 0.5) with a = relu(x), of whose bounds one is too wide."""
    layers = [
        (np.eye(2), np.zeros(2)),
        (np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([-0.5, 0.0])),
        (np.array([[-1.0, 2.0]]), np.array([0.6])),
    ]
    content = relu_net(layers)
    results = []
    for tightened in ([(2, 1), (2, 0)], []):
        builder = TreeBuilder((("z0", 2), ("z1", 2)))
        builder.split(0)
        builder.tighten(*tightened)
        builder.leaf(0)
        builder.split(2)
        builder.leaf(0, gamma={0: -2.0})
        builder.leaf(0, gamma={0: -1.0})
        proof = proof_of(content, LOW, HIGH, tree=whole([1]), trees=(builder.tree(),))
        results.append(check(tmp_path, proof, content=content))
    assert results[0].accepted, results[0].reason
    assert results[0].margin == pytest.approx(0.1, abs=1e-6)
    assert "proves nothing" in str(results[1].reason)


def test_an_empty_domain_proves_itself_and_a_full_one_does_not(tmp_path: Path) -> None:
    builder = TreeBuilder((("z0", 4),))
    builder.split(0, 3.0)
    builder.leaf(0)
    builder.leaf(-1)
    content = relu_net([HILLS[0], (HILLS[1][0], np.array([9.0]))])
    proof = proof_of(content, LOW, HIGH, tree=whole([1]), trees=(builder.tree(),))
    assert check(tmp_path, proof, content=content).accepted
    claimed = replace(proof.trees[0], leaf_row=np.array([-1, -1], np.int32))
    result = check(tmp_path, replace(proof, trees=(claimed,)), content=content)
    assert "not empty as it claims" in str(result.reason)


def set_in(tree: Any, name: str, index: Any, value: object) -> Any:
    array = getattr(tree, name).copy()
    array[index] = value
    return replace(tree, **{name: array})


def in_tree(name: str, index: Any, value: object) -> Proof:
    proof = split_proof()
    return replace(proof, trees=(set_in(proof.trees[0], name, index, value),))


def in_boxes(name: str, index: Any, value: object) -> Proof:
    proof = boxes_proof()
    return replace(proof, tree=set_in(proof.tree, name, index, value))


def in_proof(name: str, index: Any, value: object) -> Proof:
    return set_in(boxes_proof(), name, index, value)


def dropped(count: int) -> Proof:
    tree = boxes_proof().tree
    return boxes_proof(tree=replace(tree, kind=tree.kind[:count]))


def without_cases() -> Proof:
    """Return what nobody could object to: a proof of nothing."""
    proof, arrays = boxes_proof(tree=whole([])), ("lower", "upper", "matrix", "offset")
    rows = {name: getattr(proof, name)[:0] for name in (*arrays, "row_case", "row_clause")}
    return replace(proof, **rows)


TAMPERED: dict[str, tuple[Proof, str]] = {
    "a wider region": (in_proof("upper", (0, 0), 4.0), "proves nothing"),
    "a stronger row": (in_proof("offset", 0, 0.13), "proves nothing"),
    "another row": (in_proof("matrix", (0, 0), -1.0), "proves nothing"),
    "an infinite region": (in_proof("upper", (0, 0), np.inf), "not finite"),
    "a region that is not a number": (in_proof("lower", (0, 1), np.nan), "not finite"),
    "an empty region": (in_proof("upper", (0, 0), -2.0), "empty"),
    "a row that is not a number": (in_proof("matrix", (0, 0), np.nan), "not finite"),
    "no case": (without_cases(), "without gaps"),
    "a missing case": (in_proof("row_case", 0, 1), "without gaps"),
    "a negative clause": (in_proof("row_clause", 0, -1), "without gaps"),
    "another shape": (boxes_proof(input_shape=(2, 1)), "shape"),
    "another network": (boxes_proof(network_sha256="00"), "sha256 00"),
    "a cut elsewhere": (in_boxes("point", 0, 0.5), "proves nothing"),
    "a cut outside": (in_boxes("point", 0, 1.5), "outside its box"),
    "an infinite cut": (in_boxes("point", 0, np.inf), "outside its box"),
    "a cut of no input": (in_boxes("dimension", 0, 2), "cuts input 2"),
    "a cut of a negative input": (in_boxes("dimension", 0, -2), "cuts input -2"),
    "a leaf in place of a cut": (in_boxes("dimension", 1, -1), "left over"),
    "a cut in place of a leaf": (in_boxes("dimension", 6, 0), "cut|early"),
    "a leaf of no tree": (in_boxes("kind", 3, 1), "no kind"),
    "a leaf without kind": (dropped(3), "no kind"),
    "no leaf": (boxes_proof(tree=whole([])), "early"),
    "leaves of two cases": (boxes_proof(tree=whole([0, 0])), "left over"),
    "swapped slopes": (in_tree("leaf_alpha", [0, 1], [1, 0]), "proves nothing"),
    "another split": (in_tree("split_value", 0, 0), "proves nothing"),
    "a split elsewhere": (in_tree("split_point", 0, 0.5), "proves nothing"),
    "an infinite split": (in_tree("split_point", 0, np.inf), "not finite"),
    "a split that is no number": (in_tree("split_point", 0, np.nan), "not finite"),
    "a split of no value": (in_tree("split_value", 0, 4), "does not list"),
    "a larger multiplier": (in_tree("gamma", 0, -3.0), "proves nothing"),
    "a multiplier of the other bound": (in_tree("gamma", 0, 0.5), "proves nothing"),
    "a multiplier of another value": (in_tree("gamma_value", 0, 0), "proves nothing"),
    "a multiplier of no value": (in_tree("gamma_value", 0, -1), "does not list"),
    "an infinite multiplier": (in_tree("gamma", 0, np.inf), "not finite"),
    "a multiplier of another leaf": (in_tree("gamma_start", 1, 1), "proves nothing"),
    "multipliers out of order": (in_tree("gamma_start", 1, 2), "offsets"),
    "a dropped leaf": (in_tree("kind", 2, 2), "too many or too few"),
    "an unknown node": (in_tree("kind", 2, 3), "unknown kind"),
    "a leaf of another row": (in_tree("leaf_row", 0, 1), "another clause"),
    "a leaf of slopes that lack": (in_tree("leaf_alpha", 0, 4), "out of range"),
    "values twice": (in_tree("index", 1, 0), "repeated"),
    "a value that lacks": (in_tree("index", 3, 4), "no value"),
    "values of the output": (split_proof(values=(("y", 4),)), "reads a tensor 'y'"),
    "bounds of a value that lacks": (
        split_proof(groups=(BoundGroup("z0", np.array([9], np.int32), np.zeros(1, np.uint8)),)),
        "do not fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_rejected_and_said(name: str, tmp_path: Path) -> None:
    proof, reason = TAMPERED[name]
    result = check(tmp_path, proof)
    assert not result.accepted
    assert result.reason is not None
    assert re.search(reason, result.reason), result.reason


def test_the_hash_of_the_network_is_of_the_bytes_given(tmp_path: Path) -> None:
    other = relu_net([HILLS[0], (HILLS[1][0], np.array([2.0]))])
    result = check(tmp_path, boxes_proof(), content=other)
    assert "proof is about the network" in str(result.reason)


def test_a_truncated_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "proof"
    write_proof(path, boxes_proof())
    content = path.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert not check_proof(path, CONTENT).accepted


def asked(
    low: Array, high: Array, *clauses: tuple[Any, Any], ball: Ball | None = None
) -> AskedCase:
    return AskedCase(low, high, [(np.atleast_2d(c), np.atleast_1d(d)) for c, d in clauses], ball)


def test_what_was_asked_must_lie_in_what_was_proved(tmp_path: Path) -> None:
    proof, row = boxes_proof(), (np.ones((1, 1)), np.zeros(1))

    def rejected(*cases: AskedCase) -> str | None:
        return check(tmp_path, proof, specification=cases).reason

    assert rejected(asked(LOW, HIGH, row)) is None
    assert rejected(asked(LOW / 2, HIGH, row), asked(LOW, HIGH / 4, row)) is None
    assert "lies in none" in str(rejected(asked(LOW, np.nextafter(HIGH, 2), row)))
    assert "case 1 of" in str(rejected(asked(LOW, HIGH, row), asked(LOW * 2, HIGH, row)))
    assert "is not one" in str(rejected(asked(LOW, HIGH, row, (np.ones((1, 1)), [0.1]))))
    assert "is not one" in str(rejected(asked(LOW, HIGH, (-np.ones((1, 1)), [0.0]))))
    assert "other inputs" in str(rejected(asked(np.zeros(3), np.ones(3), row)))


def test_rows_of_a_clause_may_stand_in_any_order(tmp_path: Path) -> None:
    matrix, offset = np.array([[1.0], [-1.0]]), np.array([0.0, -9.0])
    proof = boxes_proof(
        matrix=matrix, offset=offset,
        row_case=np.zeros(2, np.int32), row_clause=np.zeros(2, np.int32),
    )  # fmt: skip
    turned = asked(LOW, HIGH, (matrix[::-1], offset[::-1]))
    assert check(tmp_path, proof, specification=[turned]).accepted
    half = asked(LOW, HIGH, (matrix[:1], offset[:1]))
    assert not check(tmp_path, proof, specification=[half]).accepted


@pytest.mark.parametrize("norm", [1, 2])
def test_a_ball_is_proved_as_a_ball(norm: int, tmp_path: Path) -> None:
    """x0 + x1 + 1.5 is positive in balls of radius 1, and not in their box."""
    content = relu_net([(np.ones((1, 2)), np.array([1.5]))])
    center, radius = np.zeros((1, 2)), np.ones((1, 2))
    proof = proof_of(content, LOW, HIGH, balls=Balls(norm, center, radius))
    assert check(tmp_path, proof, content=content).accepted
    assert not check(tmp_path, replace(proof, balls=None), content=content).accepted
    row = (np.ones((1, 1)), np.zeros(1))
    inner = asked(LOW, HIGH, row, ball=Ball(norm, center[0], radius[0] / 2))
    outer = asked(LOW, HIGH, row, ball=Ball(norm, center[0], radius[0] * 2))
    other = asked(LOW, HIGH, row, ball=Ball(3 - norm, center[0], radius[0]))
    results = [
        check(tmp_path, proof, content=content, specification=[case]).accepted
        for case in (inner, outer, other, asked(LOW, HIGH, row))
    ]
    assert results == [True, False, False, False]


@pytest.mark.parametrize("norm", [1, 2])
def test_the_sign_of_a_radius_makes_no_ball_smaller(norm: int, tmp_path: Path) -> None:
    """‖(x − c) / r‖ ≤ 1 says the same of r and −r: x0 + x1 + 0.5 is negative in either ball."""
    content = relu_net([(np.ones((1, 2)), np.array([0.5]))])
    for sign in (1, -1):
        balls = Balls(norm, np.zeros((1, 2)), sign * np.ones((1, 2)))
        proof = proof_of(content, LOW, HIGH, balls=balls)
        assert "proves nothing" in str(check(tmp_path, proof, content=content).reason)


def test_what_was_asked_is_about_the_network_behind_its_own_normalisation(tmp_path: Path) -> None:
    """Behind (x − 0) / 1e30 every network is constant, which says nothing of the network."""
    content = relu_net([(np.ones((1, 2)), np.array([1.5]))])
    case = asked(LOW, HIGH, (np.ones((1, 1)), np.zeros(1)))
    flat = proof_of(content, LOW, HIGH, normalization=((0.0,), (1e30,)))
    assert check(tmp_path, flat, content=content).accepted
    result = check(tmp_path, flat, content=content, specification=[case])
    assert "normalisation" in str(result.reason)
    same = check(
        tmp_path, flat, content=content, specification=[case], normalization=([0.0], [1e30])
    )
    assert same.accepted
    plain = proof_of(content, LOW / 4, HIGH / 4)
    small = [asked(LOW / 4, HIGH / 4, (np.ones((1, 1)), np.zeros(1)))]
    assert check(tmp_path, plain, content=content, specification=small).accepted
    assert not check(
        tmp_path, plain, content=content, specification=small, normalization=([0.0], [1e30])
    ).accepted


def test_numbers_in_words_are_the_numbers_proved(tmp_path: Path) -> None:
    """Rounded to nine digits they would state a region that holds 0.3, which is not proved."""
    edge = np.nextafter(0.3, 0)
    proof = replace(boxes_proof(), upper=np.array([[edge, 0.25]]), offset=np.array([-1e-17]))
    result = check(tmp_path, proof)
    assert result.accepted, result.reason
    found = re.search(r"X_0 <= ([0-9.]+), -1 <= X_1 <= 0.25", result.statement[1])
    assert found is not None
    assert float(found[1]) == edge
    assert "never +1*Y_0 <= -1e-17" in result.statement[2]


def test_rows_of_other_lengths_are_other_clauses(tmp_path: Path) -> None:
    """Two rows about one output are the same bytes as one row about three."""
    matrix, offset = np.array([[1.0], [2.0]]), np.array([0.0, -9.0])
    proof = boxes_proof(
        matrix=matrix, offset=offset,
        row_case=np.zeros(2, np.int32), row_clause=np.zeros(2, np.int32),
    )  # fmt: skip
    assert check(tmp_path, proof, specification=[asked(LOW, HIGH, (matrix, offset))]).accepted
    pair, other = sorted([(1.0, 0.0), (2.0, -9.0)], key=lambda row: np.array(row).tobytes())
    glued = asked(LOW, HIGH, (np.array([[*pair, other[0]]]), np.array([other[1]])))
    assert not check(tmp_path, proof, specification=[glued]).accepted


def test_rows_whose_products_underflow_prove_nothing(tmp_path: Path) -> None:
    """5e-324 · 0.25 is 0 in float64; at −1e300 the product of real numbers is −1e-24."""
    content = relu_net([(np.array([[0.25]]), np.zeros(1))])
    proof = proof_of(
        content, [-1e300], [-1e299], matrix=np.array([[5e-324]]), offset=np.array([-1e-30])
    )
    assert "overflow" in str(check(tmp_path, proof, content=content).reason)


def test_before_a_softmax_only_orders_of_two_outputs_count(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["z"]), node("Softmax", ["z"], ["y"])]
    weights = {"w": np.zeros((2, 2), np.float32), "b": np.array([1, 0], np.float32)}
    content = model(nodes, shape=(1, 2), weights=weights)
    order = proof_of(content, LOW, HIGH, matrix=np.array([[1.0, -1.0]]))
    result = check(tmp_path, order, content=content)
    assert result.accepted
    assert result.deployment is None
    value = proof_of(content, LOW, HIGH, matrix=np.array([[1.0, 0.0]]))
    assert "order of two outputs" in str(check(tmp_path, value, content=content).reason)
    shifted = replace(order, offset=np.array([0.5]))
    assert not check(tmp_path, shifted, content=content).accepted


def test_normalisation_belongs_to_what_is_proved(tmp_path: Path) -> None:
    content = relu_net([(np.ones((1, 2)), np.zeros(1))])
    raw = proof_of(content, np.full(2, 0.6), np.ones(2))
    assert check(tmp_path, raw, content=content).accepted
    result = check(tmp_path, replace(raw, normalization=((0.5,), (0.25,))), content=content)
    assert result.accepted
    assert result.margin == pytest.approx(0.8, abs=1e-6)
    assert "mean [0.5] and std [0.25]" in result.statement[1]
    assert not check(
        tmp_path, replace(raw, normalization=((0.9,), (1.0,))), content=content
    ).accepted


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_an_accepted_margin_is_never_above_the_truth(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Full enumeration of activation patterns of the first layer, against exact arithmetic."""
    layers = random_layers((2, 3, 3, 1), seed)
    box = Box(-np.ones(2), np.ones(2))
    truth = exact_margin_of(layers, box, Specification((Clause(np.ones((1, 1)), np.zeros(1)),)))
    rng = np.random.default_rng(seed)
    # Set the last bias so that the truth is a little above 0, or below.
    shift = np.float32(-float(truth) + rng.choice([-1e-3, 1e-3, 0.3]))
    weight, bias = layers[-1]
    layers[-1] = (weight, (bias + shift).astype(np.float32))
    truth = exact_margin_of(layers, box, Specification((Clause(np.ones((1, 1)), np.zeros(1)),)))
    content = relu_net(layers)
    proof = proof_of(content, LOW, HIGH, tree=whole([1]), trees=(enumeration(rng).tree(),))
    result = check(tmp_path_factory.mktemp("p"), proof, content=content)
    if result.accepted:
        assert Fraction(result.margin) <= truth
    else:
        assert "proves nothing" in str(result.reason)


def enumeration(rng: np.random.Generator) -> TreeBuilder:
    """Return a tree over all activation patterns of 3 + 3 neurons, with multipliers at random."""
    builder = TreeBuilder((("z0", 3), ("z1", 3)))

    def grow(depth: int) -> None:
        if depth == 6:
            gamma = {int(v): float(rng.normal()) for v in range(6) if rng.random() < 0.2}
            builder.leaf(0, alpha=rng.integers(0, 256, 6).tolist(), gamma=gamma)
            return
        builder.split(depth)
        for _ in range(2):
            if depth == 2:
                builder.tighten(*product((3, 4, 5), (0, 1)))
            grow(depth + 1)

    grow(0)
    return builder


def test_several_cases_and_clauses_are_all_checked(tmp_path: Path) -> None:
    lower = np.array([[0.5, 0.5], [-1.0, -1.0]])
    upper = np.array([[1.0, 1.0], [-0.5, -0.5]])
    proof = proof_of(
        CONTENT, lower, upper, tree=whole([0, 0]),
        matrix=np.array([[1.0], [1.0], [-1.0], [1.0]]), offset=np.array([0.5, 3.0, -2.5, 0.25]),
        row_case=np.array([0, 0, 0, 1], np.int32), row_clause=np.array([0, 1, 1, 0], np.int32),
    )  # fmt: skip
    result = check(tmp_path, proof)
    assert (result.accepted, result.leaves) == (True, 3), result.reason
    # y = (x0 + x1) / 2 + 0.625 goes from 1.125 to 1.625 in the first box, the same in the second.
    assert result.margin == pytest.approx(0.625, abs=1e-9)
    worse = replace(proof, offset=np.array([0.5, 3.0, -1.5, 0.25]))
    assert "case 0, clause 1" in str(check(tmp_path, worse).reason)
